package kms_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	_ "github.com/countersign-dev/countersign/engine/keys/kms"
)

func TestSchemes(t *testing.T) {
	got := secrets.DefaultURLMux().KeeperSchemes()
	for _, scheme := range []string{"awskms", "azurekeyvault", "gcpkms", "hashivault"} {
		if !slices.Contains(got, scheme) {
			t.Errorf("%s is not linked; the schemes are %q", scheme, got)
		}
	}
}

func TestCredentialsInURLsAreRefused(t *testing.T) {
	_, err := keys.Open(t.Context(), keys.Options{Keeper: "awskms://user:password@alias/x?region=eu-west-1"})
	if err == nil || !strings.Contains(err.Error(), "credentials") || strings.Contains(err.Error(), "password") {
		t.Errorf("error %v, want one about credentials that does not quote them", err)
	}
}

// transit implements the protocol of Vault's transit engine for one key, because
// Vault is not available to tests. Its mode selects a failure.
type transit struct {
	keeper *secrets.Keeper
	mode   atomic.Value
}

func (v *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in, out map[string]any
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch mode := v.mode.Load(); {
	case mode == "denied":
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		return
	case mode == "empty":
		out = map[string]any{}
	case r.URL.Path == "/v1/transit/encrypt/countersign":
		plain, _ := base64.StdEncoding.DecodeString(in["plaintext"].(string))
		wrapped, _ := v.keeper.Encrypt(r.Context(), plain)
		out = map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(wrapped)}
	case r.URL.Path == "/v1/transit/decrypt/countersign":
		wrapped, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(in["ciphertext"].(string), "vault:v1:"))
		plain, _ := v.keeper.Decrypt(r.Context(), wrapped)
		out = map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": out})
}

func TestVaultAsKeeper(t *testing.T) {
	var key [32]byte
	_, _ = rand.Read(key[:])
	vault := &transit{keeper: localsecrets.NewKeeper(key)}
	vault.mode.Store("")
	server := httptest.NewServer(vault)
	t.Cleanup(server.Close)
	t.Setenv("VAULT_SERVER_URL", server.URL)
	t.Setenv("VAULT_SERVER_TOKEN", "test-token")
	s, err := keys.Open(t.Context(), keys.Options{Keeper: "hashivault://countersign", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), "certificate-key/p/c", []byte("a private key"))
	if err != nil || sealed.KeeperID != "hashivault://countersign" {
		t.Fatalf("sealed by %q, error %v", sealed.KeeperID, err)
	}
	if got, err := s.Open(t.Context(), "certificate-key/p/c", sealed); err != nil || string(got) != "a private key" {
		t.Errorf("opened %q, error %v", got, err)
	}
	for _, mode := range []string{"denied", "empty"} {
		vault.mode.Store(mode)
		if _, err := s.Seal(t.Context(), "x", []byte("key")); !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("%s: sealing gives %v, want code unavailable", mode, err)
		}
		if _, err := s.Open(t.Context(), "certificate-key/p/c", sealed); !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("%s: opening gives %v, want code unavailable", mode, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

package keys_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
)

const identity = "certificate-key/prj_1/cert_1"

// canary is the private key of these tests. No part of it may appear anywhere.
var canary = []byte("CANARY-private-key-bytes-0123456789abcdef")

// keyURL is a keeper whose key is one byte repeated.
func keyURL(fill byte) string {
	return "base64key://" + base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32))
}

func open(t testing.TB, o keys.Options) *keys.Sealer {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := keys.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustSeal(t testing.TB, s *keys.Sealer) engine.SealedKey {
	t.Helper()
	sealed, err := s.Seal(t.Context(), identity, canary)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// leaks reports whether text contains the canary or the keeper's key, raw or encoded.
func leaks(text []byte) bool {
	for _, secret := range [][]byte{canary, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)} {
		for _, form := range [][]byte{secret[:24], []byte(base64.StdEncoding.EncodeToString(secret[:24])), []byte(hex.EncodeToString(secret[:24]))} {
			if bytes.Contains(text, form) {
				return true
			}
		}
	}
	return false
}

func TestSealAndOpen(t *testing.T) {
	s := open(t, keys.Options{Keeper: keyURL(1)})
	sealed := mustSeal(t, s)
	if leaks(sealed.Ciphertext) || leaks(sealed.WrappedKey) || leaks([]byte(sealed.KeeperID)) {
		t.Errorf("a key shows in %+v", sealed)
	}
	got, err := s.Open(t.Context(), identity, sealed)
	if err != nil || !bytes.Equal(got, canary) {
		t.Fatalf("opened %q, error %v", got, err)
	}
	again := mustSeal(t, s)
	if bytes.Equal(again.Ciphertext, sealed.Ciphertext) || bytes.Equal(again.WrappedKey, sealed.WrappedKey) {
		t.Error("sealing twice gave the same bytes: the data key is not fresh")
	}
	mixed := engine.SealedKey{KeeperID: sealed.KeeperID, WrappedKey: again.WrappedKey, Ciphertext: sealed.Ciphertext}
	refused(t, s, identity, mixed)
}

func refused(t *testing.T, s *keys.Sealer, identity string, sealed engine.SealedKey) error {
	t.Helper()
	key, err := s.Open(t.Context(), identity, sealed)
	if err == nil || key != nil {
		t.Fatalf("opened %q as %s, want an error", key, identity)
	}
	if leaks([]byte(err.Error())) {
		t.Errorf("a key shows in the error %q", err)
	}
	return err
}

func TestOpenRefusesAnythingChanged(t *testing.T) {
	s := open(t, keys.Options{Keeper: keyURL(1)})
	sealed := mustSeal(t, s)
	for _, other := range []string{"", "certificate-key/prj_1/cert_2", identity + "x", "data-key/x"} {
		refused(t, s, other, sealed)
	}
	for _, part := range []*[]byte{&sealed.Ciphertext, &sealed.WrappedKey} {
		whole := *part
		for bit := range len(whole) * 8 {
			*part = bytes.Clone(whole)
			(*part)[bit/8] ^= 1 << (bit % 8)
			refused(t, s, identity, sealed)
		}
		for length := range whole {
			*part = whole[:length]
			refused(t, s, identity, sealed)
		}
		*part = whole
	}
	if _, err := s.Open(t.Context(), identity, sealed); err != nil {
		t.Errorf("the unchanged key does not open: %v", err)
	}
}

func TestOpenRefusesAnotherKeeper(t *testing.T) {
	sealed := mustSeal(t, open(t, keys.Options{Keeper: keyURL(1)}))
	other := open(t, keys.Options{Keeper: keyURL(2)})
	if err := refused(t, other, identity, sealed); !strings.Contains(err.Error(), sealed.KeeperID) {
		t.Errorf("%v does not name the keeper that is missing", err)
	}
	sealed.KeeperID = mustSeal(t, other).KeeperID
	if err := refused(t, other, identity, sealed); !errors.Is(err, engine.CodeUnavailable) {
		t.Errorf("%v, want code unavailable", err)
	}
}

func TestRotation(t *testing.T) {
	old := mustSeal(t, open(t, keys.Options{Keeper: keyURL(1)}))
	rotated := open(t, keys.Options{Keeper: keyURL(2), Previous: []string{keyURL(1)}})
	if got, err := rotated.Open(t.Context(), identity, old); err != nil || !bytes.Equal(got, canary) {
		t.Errorf("after rotation the old key opens as %q, error %v", got, err)
	}
	fresh := mustSeal(t, rotated)
	if fresh.KeeperID == old.KeeperID {
		t.Error("the previous keeper still seals")
	}
	if got, err := open(t, keys.Options{Keeper: keyURL(2)}).Open(t.Context(), identity, fresh); err != nil || !bytes.Equal(got, canary) {
		t.Errorf("the new keeper alone opens %q, error %v", got, err)
	}
}

func TestMovingOffTheKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "local.key")
	sealed := mustSeal(t, open(t, keys.Options{KeyFile: path}))
	for name, o := range map[string]keys.Options{
		"to a keeper, the file in its place": {Keeper: keyURL(1), KeyFile: path},
		"to another file":                    {KeyFile: path + "2", Previous: []string{"keyfile://" + path}},
		"to a keeper, the file as previous":  {Keeper: keyURL(1), Previous: []string{"keyfile://" + path}},
		"to the file by URL":                 {Keeper: "keyfile://" + path},
	} {
		if got, err := open(t, o).Open(t.Context(), identity, sealed); err != nil || !bytes.Equal(got, canary) {
			t.Errorf("%s: opened %q, error %v", name, got, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "local.key")
	open(t, keys.Options{Keeper: keyURL(1), KeyFile: missing})
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a key file was made although a keeper is set (%v)", err)
	}
}

func TestOpenRefusesKeepersThatCannotWork(t *testing.T) {
	secret := strings.TrimPrefix(keyURL(1), "base64key://")
	for name, keeper := range map[string]string{
		"a random key":     "base64key://",
		"a short key":      "base64key://c2hvcnQ=",
		"a query":          keyURL(1) + "?x=1",
		"a path":           keyURL(1) + "/x",
		"not base64":       "base64key://!" + secret,
		"not a URL":        "base64key://" + secret + "%zz",
		"a control byte":   keyURL(1) + "\x7f",
		"no scheme":        secret,
		"unknown scheme":   "nosuchkms://" + "key",
		"no key file":      "keyfile:///does/not/exist",
		"a relative path":  "keyfile://local.key",
		"a key file's dir": "keyfile://" + t.TempDir(),
	} {
		for _, o := range []keys.Options{{Keeper: keeper}, {Keeper: keyURL(2), Previous: []string{keeper}}} {
			s, err := keys.Open(t.Context(), o)
			if err == nil || s != nil {
				t.Errorf("%s: %q was opened", name, keeper)
				continue
			}
			if text := err.Error(); strings.Contains(text, secret[:20]) {
				t.Errorf("%s: a secret shows in the error %q", name, text)
			}
		}
	}
	if _, err := keys.Open(t.Context(), keys.Options{}); err == nil {
		t.Error("neither keeper nor key file, and no error")
	}
}

func BenchmarkOpen(b *testing.B) {
	s := open(b, keys.Options{Keeper: keyURL(1)})
	key := make([]byte, 1220) // an RSA-2048 key in PKCS#8
	sealed, err := s.Seal(b.Context(), identity, key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Open(b.Context(), identity, sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	s := open(b, keys.Options{Keeper: keyURL(1)})
	key := make([]byte, 1220)
	for b.Loop() {
		if _, err := s.Seal(b.Context(), identity, key); err != nil {
			b.Fatal(err)
		}
	}
}

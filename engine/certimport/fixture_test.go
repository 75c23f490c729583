package certimport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// identity is a certificate with its key.
type identity struct {
	*x509.Certificate
	key crypto.Signer
}

var serial int64

// newKey is cheap; what the algorithms are is the business of key_test.go.
func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a certificate of that name for key, signed by issuer (nil for itself).
func sign(t testing.TB, name string, ca bool, key crypto.Signer, issuer *identity) *identity {
	t.Helper()
	serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(1.7e9, 0), NotAfter: time.Unix(2.7e9, 0),
		BasicConstraintsValid: true, IsCA: ca,
	}
	self := &identity{template, key}
	if issuer == nil {
		issuer = self
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{c, key}
}

func ca(t testing.TB, name string, issuer *identity) *identity {
	return sign(t, name, true, newKey(t), issuer)
}

func leaf(t testing.TB, name string, issuer *identity) *identity {
	return sign(t, name, false, newKey(t), issuer)
}

func pemOf(ids ...*identity) string {
	var text strings.Builder
	for _, id := range ids {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: id.Raw}))
	}
	return text.String()
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// names are the common names of a bundle, leaf first.
func names(b engine.Bundle) string {
	text := b.Leaf.Subject.CommonName
	for _, c := range b.Chain {
		text += " " + c.Subject.CommonName
	}
	return text
}

// refusal checks that err has the code, has a text, and quotes no secret.
func refusal(t testing.TB, name string, err error, code engine.Code, secrets ...string) string {
	t.Helper()
	if engine.CodeOf(err) != code {
		t.Errorf("%s: error %v, want code %s", name, err, code)
		return ""
	}
	for _, secret := range secrets {
		if quotes(err.Error(), secret) {
			t.Errorf("%s: the error quotes a secret: %q", name, err)
		}
	}
	return err.Error()
}

// quotes reports whether text holds any 16 bytes of the secret, as they are, in hex
// or in base64.
func quotes(text, secret string) bool {
	for i := 0; i+16 <= len(secret); i += 8 {
		part := secret[i : i+16]
		for _, form := range []string{part, hex.EncodeToString([]byte(part)), base64.StdEncoding.EncodeToString([]byte(part[:15]))} {
			if strings.Contains(text, form) {
				return true
			}
		}
	}
	return false
}

// shell runs lines of commands in a folder of its own and returns a reader of the
// files that they leave there.
func shell(t testing.TB, script string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	return func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// Package sdktest makes real certificates for the tests of format plugins, keeps
// their goldens, and runs the tools that open what they render. Start with [Jobs].
package sdktest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// Passphrase is that of every job.
const Passphrase = "correct-horse-7"

// Jobs makes one job for each kind of key: rsa with one intermediate, ecdsa on
// P-256 with two, ed25519 with no chain, p384 with three and p521 with one. They
// carry key, passphrase and empty options, but no format.
func Jobs(t testing.TB) []sdk.Job {
	t.Helper()
	return []sdk.Job{
		job(t, "rsa", newKey(t, "rsa"), 1),
		job(t, "ecdsa", newKey(t, "ecdsa"), 2),
		GoldenJob(t, 0),
		job(t, "p384", newKey(t, "p384"), 3),
		job(t, "p521", newKey(t, "p521"), 1),
	}
}

// GoldenJob makes an ed25519 job with so many intermediates that is the same,
// byte for byte, every time.
func GoldenJob(t testing.TB, intermediates int) sdk.Job {
	t.Helper()
	return job(t, "ed25519", seeded(100), intermediates)
}

// WithAnotherKey is the job with a key of the same kind that is not the
// certificate's.
func WithAnotherKey(t testing.TB, job sdk.Job) sdk.Job {
	t.Helper()
	var err error
	job.PrivateKey, err = x509.MarshalPKCS8PrivateKey(newKey(t, job.Name))
	check(t, err)
	return job
}

// HostileNames are names of certificates that no renderer may take over as they
// are: they mean something in paths, headers, manifests or C.
var HostileNames = []string{
	"", ".", "..", "../../etc/passwd", `..\..\key.pem`, "/dev/null", "a/b", "*.example.com",
	"a\r\nX-Injected: yes", "a\x00b", "-rf", "$(reboot)", "'; --", "<script>", "%2e%2e%2f",
	"bücher.example", "日本語", "a\u202egnp.exe", "\U0001F511", "\xff\xfe", "UPPER Case",
	strings.Repeat("long.", 1000), strings.Repeat("ü", 70_000),
	"null", "yes", "1e3", "0x10", "2001-01-01", "- a: b", "--- # yaml: {a: b}",
}

// newKey makes a key of the kind that names the job.
func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("there is no kind of key %q", kind)
	}
	check(t, err)
	return key
}

func seeded(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte{31: n})
}

// job issues a certificate for the key under a root and some intermediates.
func job(t testing.TB, name string, key crypto.Signer, intermediates int) sdk.Job {
	t.Helper()
	issuer, issuerKey := certify(t, "Test Root", seeded(0).Public(), nil, seeded(0)), seeded(0)
	var chain [][]byte
	for i := 1; i <= intermediates; i++ {
		intermediateKey := seeded(byte(i))
		issuer, issuerKey = certify(t, "Test CA "+string(rune('0'+i)), intermediateKey.Public(), issuer, issuerKey), intermediateKey
		chain = append([][]byte{issuer.Raw}, chain...)
	}
	leaf := certify(t, name+".example.test", key.Public(), issuer, issuerKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return sdk.Job{Name: name, Leaf: leaf.Raw, Chain: chain, PrivateKey: der, Passphrase: Passphrase, Options: []byte("{}")}
}

// certify issues a certificate; without an issuer, a self-signed one.
func certify(t testing.TB, name string, key crypto.PublicKey, issuer *x509.Certificate, issuerKey crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(name)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: issuer == nil || name[0] == 'T',
	}
	if template.IsCA {
		template.KeyUsage = x509.KeyUsageCertSign
	} else {
		template.DNSNames = []string{name}
	}
	if issuer == nil {
		issuer = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, issuerKey)
	check(t, err)
	certificate, err := x509.ParseCertificate(der)
	check(t, err)
	return certificate
}

// RootPEM is the root above every job's chain.
func RootPEM(t testing.TB) []byte {
	t.Helper()
	root := certify(t, "Test Root", seeded(0).Public(), nil, seeded(0))
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
}

// Run starts a program that the tests need, with a file for its last argument,
// and returns what it printed. A missing or failing program fails the test.
func Run(t testing.TB, file []byte, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, file, 0o600))
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test opens rendered files with %s, which is not installed: %v", program, err)
	}
	printed, err := exec.Command(program, append(args, path)...).CombinedOutput() //nolint:gosec,noctx // tests name their tools
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, printed)
	}
	return string(printed)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

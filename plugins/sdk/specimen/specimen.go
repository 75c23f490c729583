// Package specimen creates real certificates and keys for the tests of format plugins
// (package sdktest) and for the conformance checks. Start with [New].
package specimen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// Passphrase is the passphrase of every job.
const Passphrase = "correct-horse-7"

// Kinds are the kinds of key that New can create.
var Kinds = []string{"rsa", "ecdsa", "ed25519", "p384", "p521"}

// HostileNames are names of certificates that a renderer must escape: they have a
// meaning in paths, headers, manifests or C strings.
var HostileNames = []string{
	"", ".", "..", "../../etc/passwd", `..\..\key.pem`, "/dev/null", "a/b", "*.example.com",
	"a\r\nX-Injected: yes", "a\x00b", "-rf", "$(reboot)", "'; --", "<script>", "%2e%2e%2f",
	"bücher.example", "日本語", "a\u202egnp.exe", "\U0001F511", "\xff\xfe", "UPPER Case",
	strings.Repeat("long.", 1000), strings.Repeat("ü", 70_000),
	"null", "yes", "1e3", "0x10", "2001-01-01", "- a: b", "--- # yaml: {a: b}",
}

// New creates a job with a new key and the given number of intermediates. The job has
// a key, a passphrase and empty options, but no format. Its name is the kind of key.
func New(kind string, intermediates int) (sdk.Job, error) {
	key, err := newKey(kind)
	if err != nil {
		return sdk.Job{}, err
	}
	return job(kind, key, intermediates)
}

// Golden creates an ed25519 job that is always the same, byte for byte.
func Golden(intermediates int) (sdk.Job, error) {
	return job("ed25519", seeded(100), intermediates)
}

// WithAnotherKey returns a job of New or Golden with a key of the same kind that does
// not match the certificate.
func WithAnotherKey(job sdk.Job) (sdk.Job, error) {
	key, err := newKey(job.Name)
	if err != nil {
		return job, err
	}
	job.PrivateKey, err = x509.MarshalPKCS8PrivateKey(key)
	return job, err
}

// Root returns the root certificate of every job's chain, in DER.
func Root() ([]byte, error) {
	root, err := certify("Test Root", seeded(0).Public(), nil, seeded(0))
	if err != nil {
		return nil, err
	}
	return root.Raw, nil
}

func newKey(kind string) (key crypto.Signer, err error) {
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
		err = fmt.Errorf("key kind %q is unknown; use one of %q", kind, Kinds)
	}
	return key, err
}

func seeded(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte{31: n})
}

// job issues a certificate for the key, below a root and some intermediates.
func job(name string, key crypto.Signer, intermediates int) (sdk.Job, error) {
	made := sdk.Job{Name: name, Passphrase: Passphrase, Options: []byte("{}")}
	issuerKey := seeded(0)
	issuer, err := certify("Test Root", issuerKey.Public(), nil, issuerKey)
	for i := 1; err == nil && i <= intermediates; i++ {
		next := seeded(byte(i)) //nolint:gosec // a chain has far fewer than 256 certificates
		if issuer, err = certify(fmt.Sprintf("Test CA %d", i), next.Public(), issuer, issuerKey); err == nil {
			issuerKey, made.Chain = next, append([][]byte{issuer.Raw}, made.Chain...)
		}
	}
	if err != nil {
		return made, err
	}
	leaf, err := certify(name+".example.test", key.Public(), issuer, issuerKey)
	if err != nil {
		return made, err
	}
	made.Leaf = leaf.Raw
	made.PrivateKey, err = x509.MarshalPKCS8PrivateKey(key)
	return made, err
}

// certify issues a certificate. Without an issuer, it is self-signed.
func certify(name string, key crypto.PublicKey, issuer *x509.Certificate, issuerKey crypto.Signer) (*x509.Certificate, error) {
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
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

package engine

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine/certparse"
)

// Certificate is a stored certificate with its chain (leaf's issuer first, DER,
// self-signed roots left out). The private key is stored separately, sealed. Warnings
// says what the import could not check, and what software may refuse.
type Certificate struct {
	ID            string    `json:"id"`
	ProjectID     string    `json:"project_id"`
	Name          string    `json:"name"`
	Subject       string    `json:"subject"`
	SANs          []string  `json:"sans"`
	Issuer        string    `json:"issuer"`
	Serial        string    `json:"serial"`
	NotBefore     time.Time `json:"not_before"`
	NotAfter      time.Time `json:"not_after"`
	KeyAlgorithm  string    `json:"key_algorithm"`
	HasPrivateKey bool      `json:"has_private_key"`
	Warnings      []string  `json:"warnings"`
	Fingerprint   string    `json:"fingerprint_sha256"`
	Leaf          []byte    `json:"leaf"`
	Chain         [][]byte  `json:"chain"`
	CreatedAt     time.Time `json:"created_at"`
}

// Bundle is a certificate that was read in and verified. Chain leads upwards from
// the leaf's issuer: each certificate is signed by the next one, and self-signed
// roots are left out. Where a signature cannot be verified, Warnings says so.
// PrivateKey belongs to the leaf: PKCS#8 DER (RFC 5958), or nil if there is none.
type Bundle struct {
	Leaf       *x509.Certificate
	Chain      []*x509.Certificate
	PrivateKey []byte
	Warnings   []string
}

// SealedKey is a secret under envelope encryption, such as a private key (PKCS#8,
// RFC 5958). Ciphertext is the secret under a data key of its own, with the
// identity of the record that it belongs to as associated data. WrappedKey is
// that data key, wrapped by the keeper that KeeperID names.
type SealedKey struct {
	KeeperID   string `json:"keeper_id"`
	WrappedKey []byte `json:"wrapped_key"`
	Ciphertext []byte `json:"ciphertext"`
}

// SetLeaf sets the leaf and the fields that are read from it.
func (c *Certificate) SetLeaf(leaf *x509.Certificate) {
	sum := sha256.Sum256(leaf.Raw)
	c.Leaf = leaf.Raw
	c.Subject, c.Issuer = certparse.Name(leaf.RawSubject), certparse.Name(leaf.RawIssuer)
	c.SANs = certparse.AltNames(leaf)
	c.Serial = certparse.Serial(leaf)
	c.NotBefore, c.NotAfter = NormalizeTime(leaf.NotBefore), NormalizeTime(leaf.NotAfter)
	c.KeyAlgorithm = keyAlgorithm(leaf)
	c.Fingerprint = hex.EncodeToString(sum[:])
}

// SearchText is the text, in lower case, in which a search for certificates looks
// for its words.
func (c Certificate) SearchText() string {
	return strings.ToLower(strings.Join(append([]string{c.Name, c.Subject, c.Serial, c.Fingerprint}, c.SANs...), "\n"))
}

// The limits of a summary: alternative names, and characters of each and of a name.
const (
	maxSummaryNames = 20
	maxSummaryText  = 256
)

// NamesSummary is the first 20 of a certificate's alternative names, each cut to 256
// characters. Lists have it instead of all names, of which a certificate can have
// tens of thousands.
func NamesSummary(names []string) []string {
	summary := []string{}
	for _, name := range names[:min(len(names), maxSummaryNames)] {
		summary = append(summary, TextSummary(name))
	}
	return summary
}

// TextSummary is a text of a certificate, cut to 256 characters.
func TextSummary(text string) string { return certparse.Cut(text, maxSummaryText) }

// keyAlgorithm is the usual name of the key's algorithm: RSA-2048, ECDSA-P256, Ed25519.
func keyAlgorithm(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA-" + strings.ReplaceAll(key.Curve.Params().Name, "-", "")
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return certparse.PublicKeyAlgorithm(leaf)
	}
}

// Event is one entry of a certificate's timeline: what happened to it. Refusals are
// only in the audit log.
type Event struct {
	ID            string    `json:"id"`
	ProjectID     string    `json:"project_id"`
	CertificateID string    `json:"certificate_id"`
	Type          string    `json:"type"`
	Time          time.Time `json:"time"`
	Actor         Actor     `json:"actor"`
	IP            string    `json:"ip"`
	Format        string    `json:"format"`
	RequestID     string    `json:"request_id"`
}

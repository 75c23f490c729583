// Package certimport turns an uploaded file into a verified certificate: a leaf,
// its chain and its private key.
//
// Start with [PEM] and [PKCS12]. Both read untrusted bytes and return a [engine.Bundle]
// whose parts belong together, or an *engine.Error that says what is wrong and
// never quotes key material. Sizes, counts, key lengths and the iteration counts of
// key derivations are checked before the work that depends on them.
//
// Accepted is what OpenSSL and Java's keytool read, with a key of these kinds: RSA
// of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521, and Ed25519. OpenSSL 3.2 and later do not serve shorter RSA keys at their default
// security level (2, 112 bits), and Go's TLS does not verify longer ones.
// Certificates may be expired or signed with SHA-1, because servers still serve
// those. A signature that cannot be checked does not keep a certificate out, and
// neither does a form that RFC 5280 forbids: the bundle then has a warning.
package certimport

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/ber"
	"github.com/countersign-dev/countersign/engine/certparse"
)

// The limits of an import, in bytes, certificates and bits.
const (
	maxInput        = 1 << 20
	maxCertificates = 10
	maxKeyDER       = 8 << 10 // an RSA-8192 key takes 4.7 KiB
	minRSABits      = 2048
	maxRSABits      = 8192
	maxReason       = 200 // characters of a reason that a parser gives
)

// PEM reads a certificate from PEM (RFC 7468). certificatePEM holds the leaf and
// may hold its chain, in any order; chainPEM and keyPEM may be empty. Keys come
// as PKCS#1, SEC 1 or PKCS#8, unencrypted. The error's code is
// CodeInvalidCertificate, CodeChainMismatch, CodeKeyMismatch, or CodeInvalidRequest
// for an invalid key and for a part in the wrong field.
func PEM(certificatePEM, chainPEM, keyPEM string) (engine.Bundle, error) {
	certificates, err := parseCertificates("certificate_pem", certificatePEM)
	if err != nil {
		return engine.Bundle{}, err
	}
	if len(certificates) == 0 {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidCertificate, "certificate_pem contains no certificate; paste the certificate in PEM")
	}
	chain, err := parseCertificates("chain_pem", chainPEM)
	if err != nil {
		return engine.Bundle{}, err
	}
	var key crypto.Signer
	if strings.TrimSpace(keyPEM) != "" {
		if key, err = parseKey(keyPEM); err != nil {
			return engine.Bundle{}, err
		}
	}
	return assemble(certificates, chain, key)
}

// assemble verifies that the parts belong together. The leaf is one of the
// candidates; the others can only be in its chain.
func assemble(candidates, others []*x509.Certificate, key crypto.Signer) (engine.Bundle, error) {
	pool, err := newPool(candidates, others)
	if err != nil {
		return engine.Bundle{}, err
	}
	leaf, err := pool.leaf(key)
	if err != nil {
		return engine.Bundle{}, err
	}
	bundle := engine.Bundle{Leaf: pool.certificates[leaf]}
	if name := certparse.PublicKeyAlgorithm(bundle.Leaf); !accepted[name] {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidCertificate, "the key of the certificate %s is of the algorithm %s; %s", nameOf(bundle.Leaf), name, acceptedKeys)
	}
	if problem := keyProblem(bundle.Leaf.PublicKey); problem != "" {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidCertificate, "the key of the certificate %s is %s", nameOf(bundle.Leaf), problem)
	}
	path, err := pool.chain(leaf)
	if err != nil {
		return engine.Bundle{}, err
	}
	bundle.Chain = []*x509.Certificate{}
	for _, i := range path[1:] {
		bundle.Chain = append(bundle.Chain, pool.certificates[i])
	}
	bundle.Warnings = pool.warnings(path)
	if key != nil {
		if bundle.PrivateKey, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return engine.Bundle{}, engine.Errorf(engine.CodeInvalidRequest, "the private key cannot be encoded as PKCS#8").Because(err)
		}
	}
	return bundle, nil
}

// parseCertificates reads the certificates of one member of the request.
func parseCertificates(member, text string) ([]*x509.Certificate, error) {
	blocks, err := parseBlocks(member, text, engine.CodeInvalidCertificate)
	if err != nil {
		return nil, err
	}
	if len(blocks) > maxCertificates {
		return nil, engine.Errorf(engine.CodeInvalidCertificate, "%s contains %d certificates; at most %d are accepted", member, len(blocks), maxCertificates)
	}
	var certificates []*x509.Certificate
	for i, block := range blocks {
		switch {
		case block.Type == "CERTIFICATE", block.Type == "X509 CERTIFICATE", block.Type == "TRUSTED CERTIFICATE":
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, engine.Errorf(engine.CodeInvalidRequest, "%s contains a private key; move it to private_key_pem", member)
		case block.Type == "PKCS7" || block.Type == "CMS":
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "%s contains PKCS#7; convert it with: openssl pkcs7 -print_certs", member)
		default:
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "block %d of %s is not a certificate; remove it", i+1, member)
		}
		der := block.Bytes
		if block.Type == "TRUSTED CERTIFICATE" { // OpenSSL's; what it trusts the certificate for follows it
			if first, _, err := ber.Read(der); err == nil {
				der = first.Full
			}
		}
		c, err := parseCertificate(der)
		if err != nil {
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "block %d of %s %s", i+1, member, err).Because(err)
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

// parseCertificate reads one certificate. Its error says what the bytes are not.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := certparse.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("is not a valid X.509 certificate (%s); export the certificate again", certparse.Cut(certparse.Escape(err.Error(), ""), maxReason))
	}
	return c, nil
}

// parseBlocks splits PEM text. Text around the blocks is ignored, as openssl writes
// it; a block that does not decode is an error. Lines may end as on old Macs, and be
// indented or begin with a byte order mark, as documents and editors leave them.
func parseBlocks(member, text string, code engine.Code) ([]*pem.Block, error) {
	if len(text) > maxInput {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "%s is %d bytes long; at most %d are accepted", member, len(text), maxInput)
	}
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\r' || r == '\n' })
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.ReplaceAll(line, "\ufeff", ""))
	}
	var blocks []*pem.Block
	for rest := []byte(strings.Join(lines, "\n")); ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		blocks, rest = append(blocks, block), after
	}
	switch {
	case strings.Count(text, "-----BEGIN ") != len(blocks) || strings.Count(text, "-----END ") != len(blocks):
		return nil, engine.Errorf(code, "%s has a PEM block that is damaged or incomplete; copy the whole block", member)
	case len(blocks) == 0 && strings.TrimSpace(text) != "":
		return nil, engine.Errorf(code, "%s is not PEM, because it has no -----BEGIN line; convert it with openssl", member)
	}
	return blocks, nil
}

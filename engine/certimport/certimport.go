// Package certimport turns an uploaded file into a verified certificate: a leaf,
// its chain and its private key.
//
// Start with [PEM] and [PKCS12]. Both read untrusted bytes and return a [engine.Bundle]
// whose parts belong together, or an *engine.Error that says what is wrong and
// never quotes key material. Sizes, counts, key lengths and the iteration counts of
// key derivations are checked before the work that depends on them.
//
// Accepted are RSA keys of 2048 to 8192 bits, ECDSA on P-256, P-384 and P-521, and
// Ed25519. OpenSSL 3.2 and later do not serve shorter RSA keys at their default
// security level (2, 112 bits), and Go's TLS does not verify longer ones.
// Certificates may be expired or signed with SHA-1, because servers still serve
// those.
package certimport

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// The limits of an import, in bytes, certificates and bits.
const (
	maxInput        = 1 << 20
	maxCertificates = 10
	maxKeyDER       = 8 << 10 // an RSA-8192 key takes 4.7 KiB
	minRSABits      = 2048
	maxRSABits      = 8192
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
	if problem := keyProblem(bundle.Leaf.PublicKey); problem != "" {
		return engine.Bundle{}, engine.Errorf(engine.CodeInvalidCertificate, "the key of the certificate %s is %s", nameOf(bundle.Leaf), problem)
	}
	if bundle.Chain, err = pool.chain(leaf); err != nil {
		return engine.Bundle{}, err
	}
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
		case block.Type == "CERTIFICATE" || block.Type == "X509 CERTIFICATE":
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, engine.Errorf(engine.CodeInvalidRequest, "%s contains a private key; move it to private_key_pem", member)
		case block.Type == "PKCS7" || block.Type == "CMS":
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "%s contains PKCS#7; convert it with: openssl pkcs7 -print_certs", member)
		default:
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "block %d of %s is not a certificate; remove it", i+1, member)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, engine.Errorf(engine.CodeInvalidCertificate, "block %d of %s is not a valid X.509 certificate; export the certificate again", i+1, member).Because(err)
		}
		certificates = append(certificates, c)
	}
	return certificates, nil
}

// parseBlocks splits PEM text. Text before a block is ignored, as openssl writes
// it; a block that does not decode is an error, and so is text after the last one.
func parseBlocks(member, text string, code engine.Code) ([]*pem.Block, error) {
	if len(text) > maxInput {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "%s is %d bytes long; at most %d are accepted", member, len(text), maxInput)
	}
	var blocks []*pem.Block
	rest := []byte(strings.TrimPrefix(text, "\ufeff")) // a byte order mark, as Windows editors leave it
	for {
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
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, engine.Errorf(code, "%s has text after its last PEM block; remove it", member)
	}
	return blocks, nil
}

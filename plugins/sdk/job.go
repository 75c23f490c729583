package sdk

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/countersign-dev/countersign/engine/certparse"
)

// Certificates parses the leaf and its chain. Of a certificate that crypto/x509
// refuses, such as one with a negative serial number, only these fields are set: the
// raw ones, the public key, the serial number, the validity, the signature, the
// extensions, basic constraints, key usage and key identifiers.
func (j Job) Certificates() (leaf *x509.Certificate, chain []*x509.Certificate, err error) {
	if leaf, err = certparse.Parse(j.Leaf); err != nil {
		return nil, nil, fmt.Errorf("parse certificate: %w", err)
	}
	for _, der := range j.Chain {
		issuer, err := certparse.Parse(der)
		if err != nil {
			return nil, nil, fmt.Errorf("parse chain: %w", err)
		}
		chain = append(chain, issuer)
	}
	return leaf, chain, nil
}

// Key parses the private key. It returns an error if the key does not match the
// leaf, because importers would find that much later.
func (j Job) Key(leaf *x509.Certificate) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(j.PrivateKey)
	if err != nil {
		return nil, errors.New("the private key is not valid PKCS#8 in DER") // the cause could quote the key
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the private key has type %T, which cannot sign", parsed)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return nil, errors.New("the private key does not match the certificate")
	}
	return key, nil
}

// maxSafeName is the maximum length of a DNS name, in characters.
const maxSafeName = 253

var unsafeRun = regexp.MustCompile(`[^a-z0-9.]+`)

// SafeName returns the certificate's name as a DNS subdomain name (RFC 1123): lower
// case ASCII letters and digits, with single hyphens and dots between them. It has
// no special meaning in a path, a shell or a manifest. If no character of the name
// is allowed, it returns "certificate".
func (j Job) SafeName() string {
	var labels []string
	for label := range strings.SplitSeq(unsafeRun.ReplaceAllString(strings.ToLower(j.Name), "-"), ".") {
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	name := strings.Join(labels, ".")
	if len(name) > maxSafeName {
		name = strings.TrimRight(name[:maxSafeName], ".-")
	}
	if name == "" {
		return "certificate"
	}
	return name
}

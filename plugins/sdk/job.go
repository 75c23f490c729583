package sdk

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Certificates parses the leaf and its chain.
func (j Job) Certificates() (leaf *x509.Certificate, chain []*x509.Certificate, err error) {
	if leaf, err = x509.ParseCertificate(j.Leaf); err != nil {
		return nil, nil, fmt.Errorf("parse certificate: %w", err)
	}
	for _, der := range j.Chain {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("parse chain: %w", err)
		}
		chain = append(chain, issuer)
	}
	return leaf, chain, nil
}

// Key parses the private key and refuses one that is not the leaf's: a renderer
// would put the two together unseen, and importers fail much later.
func (j Job) Key(leaf *x509.Certificate) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(j.PrivateKey)
	if err != nil {
		return nil, errors.New("the private key is not PKCS#8") // the cause could quote the key
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key of type %T cannot sign", parsed)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return nil, errors.New("the private key is not the certificate's")
	}
	return key, nil
}

// maxSafeName is the longest that a DNS name can be, in characters.
const maxSafeName = 253

var unsafeRun = regexp.MustCompile(`[^a-z0-9.]+`)

// SafeName is the certificate's name, for a place where people chose none: only
// lower case ASCII letters, digits, inner hyphens and inner single dots, so that
// it is a DNS subdomain name (RFC 1123) and means nothing else in a path, a shell
// or a manifest. It is "certificate" where nothing of the name is left.
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

package main

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a bundle: AES-256 with PBKDF2 and SHA-256, which everything
// since OpenSSL 1.1.1 and Java 8u301 opens, or 3DES with SHA-1 under
// options.legacy. Salts come from random.
func render(job sdk.Job, random io.Reader) ([]byte, error) {
	var options struct {
		Legacy bool `json:"legacy"`
	}
	if err := json.Unmarshal(job.Options, &options); err != nil {
		return nil, fmt.Errorf("read options: %w", err)
	}
	if job.Passphrase == "" {
		return nil, errors.New("there is no passphrase")
	}
	leaf, chain, err := parse(job)
	if err != nil {
		return nil, err
	}
	key, err := matchingKey(job.PrivateKey, leaf)
	if err != nil {
		return nil, err
	}
	encoder := pkcs12.Modern2023
	if options.Legacy {
		encoder = pkcs12.LegacyDES
	}
	bundle, err := encoder.WithRand(random).Encode(key, leaf, chain, job.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return bundle, nil
}

func parse(job sdk.Job) (leaf *x509.Certificate, chain []*x509.Certificate, err error) {
	if leaf, err = x509.ParseCertificate(job.Leaf); err != nil {
		return nil, nil, fmt.Errorf("parse certificate: %w", err)
	}
	for _, der := range job.Chain {
		issuer, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil, fmt.Errorf("parse chain: %w", err)
		}
		chain = append(chain, issuer)
	}
	return leaf, chain, nil
}

// matchingKey parses the key and refuses one that is not the certificate's: the
// encoder would put the two together unseen, and importers fail much later.
func matchingKey(der []byte, leaf *x509.Certificate) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
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

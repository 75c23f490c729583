package main

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
	"time"
)

// sample is a certificate of the sample project. The certificate authorities that
// issue it are made at the start, and their keys are not kept.
type sample struct {
	name  string
	leaf  *x509.Certificate
	chain []*x509.Certificate
	key   []byte // PKCS#8 DER, nil for none
}

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// samples makes an RSA-2048 leaf with one intermediate, an ECDSA P-256 leaf with
// two, an Ed25519 leaf that the root issued, and a leaf without its private key.
func samples(now time.Time) ([]sample, error) {
	root, err := newAuthority("Sample Root CA", nil, now)
	if err != nil {
		return nil, err
	}
	issuing, err := newAuthority("Sample Issuing CA", root, now)
	if err != nil {
		return nil, err
	}
	deep, err := newAuthority("Sample Regional CA", issuing, now)
	if err != nil {
		return nil, err
	}
	var made []sample
	for _, s := range []struct {
		host    string
		newKey  func() (crypto.Signer, error)
		issuer  *authority
		chain   []*x509.Certificate
		keepKey bool
	}{
		{"www.example.com", newRSA, issuing, []*x509.Certificate{issuing.certificate}, true},
		{"api.example.com", newECDSA, deep, []*x509.Certificate{deep.certificate, issuing.certificate}, true},
		{"mail.example.com", newEd25519, root, nil, true},
		{"partner.example.com", newECDSA, issuing, []*x509.Certificate{issuing.certificate}, false},
	} {
		leaf, key, err := newLeaf(s.host, s.newKey, s.issuer, now)
		if err != nil {
			return nil, err
		}
		if !s.keepKey {
			key = nil
		}
		made = append(made, sample{name: s.host, leaf: leaf, chain: s.chain, key: key})
	}
	return made, nil
}

func newRSA() (crypto.Signer, error)   { return rsa.GenerateKey(rand.Reader, 2048) }
func newECDSA() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
func newEd25519() (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// newAuthority makes a CA certificate. Without an issuer it is self-signed.
func newAuthority(name string, issuer *authority, now time.Time) (*authority, error) {
	key, err := newECDSA()
	if err != nil {
		return nil, fmt.Errorf("make sample authority: %w", err)
	}
	a := &authority{key: key}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"Countersign Sample"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if issuer == nil {
		issuer = &authority{certificate: template, key: key}
	}
	a.certificate, err = sign(template, issuer, key)
	return a, err
}

func newLeaf(host string, newKey func() (crypto.Signer, error), issuer *authority, now time.Time) (*x509.Certificate, []byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, nil, fmt.Errorf("make sample key: %w", err)
	}
	leaf, err := sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: host, Organization: []string{"Countersign Sample"}},
		DNSNames:  []string{host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 3, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}, issuer, key)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("make sample key: %w", err)
	}
	return leaf, pkcs8, nil
}

func sign(template *x509.Certificate, issuer *authority, key crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make sample certificate: %w", err)
	}
	template.SerialNumber = serial.Add(serial, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.certificate, key.Public(), issuer.key)
	if err != nil {
		return nil, fmt.Errorf("make sample certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

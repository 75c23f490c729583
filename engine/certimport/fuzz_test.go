package certimport

import (
	"crypto"
	"crypto/x509"
	"errors"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

// checkResult checks what must be true of every result.
func checkResult(t *testing.T, b engine.Bundle, err error, secrets ...string) {
	t.Helper()
	if err != nil {
		if e, ok := errors.AsType[*engine.Error](err); !ok || e.Detail == "" {
			t.Fatalf("%v is not an engine.Error", err)
		}
		for _, secret := range secrets {
			if quotes(err.Error(), secret) {
				t.Fatalf("the error quotes a secret: %q", err)
			}
		}
		if b.Leaf != nil || b.Chain != nil || b.PrivateKey != nil {
			t.Fatal("an error comes with a bundle")
		}
		return
	}
	below := b.Leaf
	for _, c := range b.Chain {
		if found := signatureOf(c, below); !isCA(c) || found == absent || found == unchecked && len(b.Warnings) == 0 {
			t.Fatal("the chain does not lead upwards")
		}
		below = c
	}
	if b.PrivateKey == nil {
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(b.PrivateKey)
	if err != nil {
		t.Fatalf("the key is not PKCS#8: %v", err)
	}
	if !isKeyOf(key.(crypto.Signer), b.Leaf) {
		t.Fatal("the key is not the leaf's")
	}
}

func FuzzPEM(f *testing.F) {
	root := ca(f, "root", nil)
	one := ca(f, "one", root)
	end := leaf(f, "leaf", one)
	secret := keyPEM(f, end.key)
	f.Add(pemOf(end), pemOf(one), secret)
	f.Add(pemOf(root, one, end), "", "")
	f.Add(pemOf(end)+secret, secret, pemOf(end))
	f.Add("", "x", "-----BEGIN PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, certificate, chain, key string) {
		b, err := PEM(certificate, chain, key)
		checkResult(t, b, err, bodyOf(secret))
	})
}

func FuzzPKCS12(f *testing.F) {
	root := ca(f, "root", nil)
	one := ca(f, "one", root)
	end := leaf(f, "leaf", one)
	for _, encoder := range []*pkcs12.Encoder{pkcs12.LegacyRC2, pkcs12.LegacyDES, pkcs12.Modern2023, pkcs12.Modern2026} {
		data, err := encoder.WithIterations(1).Encode(end.key, end.Certificate, []*x509.Certificate{one.Certificate}, passphrase)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, passphrase)
	}
	bare, err := pkcs12.Passwordless.Encode(end.key, end.Certificate, nil, "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bare, "")
	secret := bodyOf(keyPEM(f, end.key))
	f.Fuzz(func(t *testing.T, data []byte, passphrase string) {
		b, err := PKCS12(data, engine.Secret(passphrase))
		checkResult(t, b, err, secret)
	})
}

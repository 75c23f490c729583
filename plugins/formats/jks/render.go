package main

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pavlo-v-chernykh/keystore-go/v4"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a keystore. It reads salts from random and takes the dates of the
// entries from the certificates, so that tests can render the same file again.
func render(job sdk.Job, random io.Reader) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	if job.Passphrase == "" {
		return nil, errors.New("the passphrase is missing; give one")
	}
	// The library uses each byte as one character, which is correct for ASCII only.
	if strings.ContainsFunc(job.Passphrase, func(r rune) bool { return r > '~' }) {
		return nil, errors.New("the passphrase contains a character that is not ASCII; use ASCII characters only")
	}
	leaf, chain, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	alias := cmp.Or(options.Alias, job.SafeName())
	store := keystore.New(keystore.WithOrderedAliases(), keystore.WithCustomRandomNumberGenerator(random))
	switch job.Format {
	case "jks":
		err = addKey(store, alias, job, leaf)
	case "jks-truststore":
		err = addTrusted(store, alias, leaf, chain)
	default:
		err = fmt.Errorf("this plugin has no format %q", job.Format)
	}
	if err != nil {
		return nil, err
	}
	var file bytes.Buffer
	if err := store.Store(&file, []byte(job.Passphrase)); err != nil {
		return nil, fmt.Errorf("encode keystore: %w", err)
	}
	return file.Bytes(), nil
}

func addKey(store keystore.KeyStore, alias string, job sdk.Job, leaf *x509.Certificate) error {
	if _, err := job.Key(leaf); err != nil {
		return err
	}
	entry := keystore.PrivateKeyEntry{CreationTime: leaf.NotBefore, PrivateKey: job.PrivateKey}
	for _, der := range append([][]byte{job.Leaf}, job.Chain...) {
		entry.CertificateChain = append(entry.CertificateChain, x509Certificate(der))
	}
	if err := store.SetPrivateKeyEntry(alias, entry, []byte(job.Passphrase)); err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	return nil
}

// addTrusted adds the certificates that a client should trust: the issuers, because
// the server's own certificate is replaced when it expires. Without issuers it adds
// that certificate.
func addTrusted(store keystore.KeyStore, alias string, leaf *x509.Certificate, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		chain = []*x509.Certificate{leaf}
	}
	for i, certificate := range chain {
		name := alias
		if i > 0 {
			name = fmt.Sprintf("%s-%d", alias, i+1)
		}
		entry := keystore.TrustedCertificateEntry{CreationTime: certificate.NotBefore, Certificate: x509Certificate(certificate.Raw)}
		if err := store.SetTrustedCertificateEntry(name, entry); err != nil {
			return fmt.Errorf("add certificate: %w", err)
		}
	}
	return nil
}

func x509Certificate(der []byte) keystore.Certificate {
	return keystore.Certificate{Type: "X.509", Content: der}
}

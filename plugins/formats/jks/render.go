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

// render writes a keystore. Salts come from random, the entries' dates from the
// certificates: the same job and randomness make the same file.
func render(job sdk.Job, random io.Reader) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	if job.Passphrase == "" {
		return nil, errors.New("there is no passphrase")
	}
	// The library takes a byte for a character, and keytool types no others.
	if strings.ContainsFunc(job.Passphrase, func(r rune) bool { return r > '~' }) {
		return nil, errors.New("the passphrase is not ASCII")
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
		err = fmt.Errorf("there is no format %q here", job.Format)
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

// addTrusted adds what a client should trust: the issuers, not the server's own
// certificate, which the next one replaces. Only without issuers there is nothing
// else to trust.
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

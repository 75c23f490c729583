package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestUnusualCertificatesOpenElsewhere downloads certificates that crypto/x509 refuses,
// or that have unusual names, in every format, and opens them with other programs.
func TestUnusualCertificatesOpenElsewhere(t *testing.T) {
	t.Parallel()
	s := project(t)
	s.allow(true)
	for folder, chain := range map[string]int{"21-serial-negative": 1, "23-dn-x500uniqueid-bitstring": 1, "71-dn-adcs": 0} {
		read := func(name string) string {
			text, err := os.ReadFile(filepath.Join("..", "..", "engine", "certimport", "testdata", "field", folder, name))
			if err != nil && (name != "chain.pem" || chain > 0) {
				t.Fatal(err)
			}
			return string(text)
		}
		var c bootstrapCertificate
		s.must(http.StatusCreated, &c, "admin", http.MethodPost, s.project()+"/certificates", object("name", "leaf.example.com",
			"certificate_pem", read("leaf.pem"), "chain_pem", read("chain.pem"), "private_key_pem", read("key.pem")))
		n := len(s.boot.Certificates)
		s.boot.Certificates = append(s.boot.Certificates, c)
		t.Run(folder, func(t *testing.T) {
			s := *s
			s.t = t
			leaf := s.download(n, "cert")
			if text, err := os.ReadFile(leaf.path); err != nil || string(text) != read("leaf.pem") {
				t.Errorf("the certificate was changed (%v)", err)
			}
			subject := subject{&s, n, chain, "leaf.example.com", leaf, leaf.publicKeyOfCertificate()}
			for format, open := range openers {
				switch {
				case format == "cert":
				case format == "chain" && chain == 0:
					subject.refused(format, "no_chain")
				default:
					open(subject)
				}
			}
		})
	}
}

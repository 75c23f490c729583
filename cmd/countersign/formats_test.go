package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every format of every sample is opened by programs that are not ours.

// opened is a downloaded file in a folder of its own.
type opened struct {
	t      *testing.T
	folder string
	path   string
}

func (s *server) download(n int, format string, extra ...string) opened {
	s.t.Helper()
	m := s.mint(n, format, extra...)
	status, body := s.fetch(m.Token)
	if status != http.StatusOK {
		s.t.Fatalf("%s of %s: %d %s", format, s.boot.Certificates[n].Name, status, body)
	}
	o := opened{t: s.t, folder: s.t.TempDir()}
	o.path = filepath.Join(o.folder, m.Filename)
	noError(s.t, os.WriteFile(o.path, body, 0o600))
	return o
}

// openssl runs a subcommand on the file.
func (o opened) openssl(args ...string) string {
	o.t.Helper()
	return run(o.t, nil, "openssl", append(args, "-in", o.path)...)
}

func (o opened) publicKeyOfCertificate() string {
	return o.openssl("x509", "-noout", "-pubkey")
}

func (o opened) publicKeyOfKey() string {
	return o.openssl("pkey", "-pubout")
}

// certificates counts the PEM blocks of the file.
func (o opened) certificates() int {
	text, err := os.ReadFile(o.path)
	noError(o.t, err)
	return bytes.Count(text, []byte("-----BEGIN CERTIFICATE-----"))
}

func TestEveryFormatOpensElsewhere(t *testing.T) {
	s := start(t, binary(t, "-tags=failpoint"), t.TempDir()+"/data")
	s.allow(true)
	for n, chain := range []int{1, 2, 0, 1} {
		c := s.boot.Certificates[n]
		t.Run(c.Name, func(t *testing.T) {
			s := *s
			s.t = t
			leaf := s.download(n, "cert")
			if !strings.Contains(leaf.openssl("x509", "-noout", "-subject"), c.Name) {
				t.Error("the leaf is of another name")
			}
			s.openChain(n, chain, leaf)
			if c.HasPrivateKey {
				s.openKeyed(n, chain, leaf)
			} else {
				s.refusesKeys(n)
			}
		})
	}
}

// openChain checks chain and fullchain against the leaf.
func (s *server) openChain(n, chain int, leaf opened) {
	full := s.download(n, "fullchain")
	if got := full.certificates(); got != chain+1 {
		s.t.Errorf("fullchain holds %d certificates, want %d", got, chain+1)
	}
	if chain == 0 {
		path := s.project() + "/certificates/" + s.boot.Certificates[n].ID + "/downloads"
		if status, body := s.call("operator", http.MethodPost, path, `{"format":"chain"}`); status != 422 || problem(body).Code != "no_chain" {
			s.t.Errorf("chain without one: %d %s", status, body)
		}
		return
	}
	above := s.download(n, "chain")
	if got := above.certificates(); got != chain {
		s.t.Errorf("chain holds %d certificates, want %d", got, chain)
	}
	// The root is not handed out, so the topmost intermediate is the anchor.
	out := leaf.verify(above.path)
	if !strings.Contains(out, "OK") {
		s.t.Errorf("openssl verify: %s", out)
	}
}

func (o opened) verify(chain string) string {
	return run(o.t, nil, "openssl", "verify", "-partial_chain", "-trusted", chain, "-untrusted", chain, o.path)
}

func (s *server) refusesKeys(n int) {
	for _, format := range []string{"key", "pkcs12", "zip"} {
		path := s.project() + "/certificates/" + s.boot.Certificates[n].ID + "/downloads"
		body := fmt.Sprintf(`{"format":%q,"passphrase":%q}`, format, testPassphrase)
		if status, text := s.call("operator", http.MethodPost, path, body); status != 422 || problem(text).Code != "no_private_key" {
			s.t.Errorf("%s without a key: %d %s", format, status, text)
		}
	}
}

// openKeyed checks the formats that hold the key.
func (s *server) openKeyed(n, chain int, leaf opened) {
	key := s.download(n, "key")
	if key.publicKeyOfKey() != leaf.publicKeyOfCertificate() {
		s.t.Error("key.pem is not the key of cert.pem")
	}
	s.openPKCS12(s.download(n, "pkcs12"), chain, leaf, "AES-256-CBC")
	s.openPKCS12(s.download(n, "pkcs12", `,"options":{"legacy":true}`), chain, leaf, "pbeWithSHA1And3-KeyTripleDES-CBC")
	s.openZip(n, chain, leaf)
}

func (s *server) openPKCS12(o opened, chain int, leaf opened, cipher string) {
	t := s.t
	t.Helper()
	pass := "pass:" + testPassphrase
	info := o.openssl("pkcs12", "-info", "-noout", "-passin", pass)
	if strings.Count(info, cipher) < 2 || cipher == "AES-256-CBC" && strings.Contains(info, "TripleDES") {
		t.Errorf("key and certificates are not under %s:\n%s", cipher, info)
	}
	inside := opened{t, o.folder, filepath.Join(o.folder, "inside.pem")}
	o.openssl("pkcs12", "-nodes", "-passin", pass, "-out", inside.path)
	if inside.publicKeyOfKey() != leaf.publicKeyOfCertificate() {
		t.Error("the bundle's key is not the leaf's")
	}
	if got := inside.certificates(); got != chain+1 {
		t.Errorf("the bundle holds %d certificates, want %d", got, chain+1)
	}
	list := run(t, nil, "keytool", "-list", "-v", "-storetype", "PKCS12", "-keystore", o.path, "-storepass", testPassphrase)
	if !strings.Contains(list, "PrivateKeyEntry") || !strings.Contains(list, fmt.Sprintf("Certificate chain length: %d", chain+1)) {
		t.Errorf("keytool lists:\n%s", list)
	}
}

func (s *server) openZip(n, chain int, leaf opened) {
	bundle := s.download(n, "zip")
	archive, err := zip.OpenReader(bundle.path)
	noError(s.t, err)
	defer archive.Close()
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	want := []string{"bundle.pkcs12", "cert.pem", "chain.pem", "fullchain.pem", "key.pem"}
	if chain == 0 {
		want = slices.Delete(want, 2, 3)
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		s.t.Fatalf("bundle.zip holds %q, want %q", names, want)
	}
	run(s.t, nil, "python3", "-m", "zipfile", "-e", bundle.path, bundle.folder)
	key := opened{s.t, bundle.folder, filepath.Join(bundle.folder, "key.pem")}
	if key.publicKeyOfKey() != leaf.publicKeyOfCertificate() {
		s.t.Error("the zip's key is not the leaf's")
	}
	s.openPKCS12(opened{s.t, bundle.folder, filepath.Join(bundle.folder, "bundle.pkcs12")}, chain, leaf, "AES-256-CBC")
}

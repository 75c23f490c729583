package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// openers check the formats, each with programs that are not ours.
var openers = map[string]func(subject){
	"cert": subject.openCert, "chain": subject.openChain, "fullchain": subject.openFullchain, "key": subject.openKey,
	"haproxy": subject.openHAProxy, "pkcs12": subject.openPKCS12, "zip": subject.openZip, "p7b": subject.openP7B,
	"jks": subject.openJKS, "jks-truststore": subject.openTruststore, "der": subject.openDER, "der-key": subject.openDERKey,
	"pkcs8-encrypted": subject.openEncryptedKey, "k8s-secret": subject.openSecret,
}

// subject is a sample certificate, as its formats are tested against it.
type subject struct {
	*server
	n, chain int    // which it is, and how many are above it
	name     string // in Countersign
	leaf     opened
	public   string // its key, as openssl prints it
}

func (s subject) download(format string, extra ...string) opened {
	s.t.Helper()
	return s.server.download(s.n, format, extra...)
}

// refused asks for a format that the sample does not have.
func (s subject) refused(format, code string) {
	path := s.project() + "/certificates/" + s.boot.Certificates[s.n].ID + "/downloads"
	body := fmt.Sprintf(`{"format":%q,"passphrase":%q}`, format, testPassphrase)
	if status, text := s.call("operator", http.MethodPost, path, body); status != 422 || problem(text).Code != code {
		s.t.Errorf("%s: %d %s, want %s", format, status, text, code)
	}
}

// same fails the test unless the public key is the sample's.
func (s subject) same(what, public string) {
	s.t.Helper()
	if public != s.public {
		s.t.Errorf("%s is of another certificate than cert.pem:\n%s", what, public)
	}
}

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

// beside is another file in the same folder.
func (o opened) beside(name string) opened {
	return opened{o.t, o.folder, filepath.Join(o.folder, name)}
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
	t.Parallel()
	s := project(t)
	s.allow(true)
	var formats struct {
		Items []struct {
			ID          string
			ContainsKey bool `json:"contains_key"`
		}
	}
	s.must(http.StatusOK, &formats, "operator", http.MethodGet, s.project()+"/formats?limit=200", "")
	for n, chain := range []int{1, 2, 0, 1} {
		c := s.boot.Certificates[n]
		t.Run(c.Name, func(t *testing.T) {
			s := *s
			s.t = t
			leaf := s.download(n, "cert")
			subject := subject{&s, n, chain, c.Name, leaf, leaf.publicKeyOfCertificate()}
			for _, format := range formats.Items {
				open, known := openers[format.ID]
				switch {
				case !known:
					t.Errorf("no program opens %s", format.ID)
				case format.ContainsKey && !c.HasPrivateKey:
					subject.refused(format.ID, "no_private_key")
				case format.ID == "chain" && chain == 0:
					subject.refused(format.ID, "no_chain")
				default:
					open(subject)
				}
			}
		})
	}
}

func (s subject) openCert() {
	if !strings.Contains(s.leaf.openssl("x509", "-noout", "-subject"), s.name) {
		s.t.Error("the leaf is of another name")
	}
}

func (s subject) openChain() {
	above := s.download("chain")
	if got := above.certificates(); got != s.chain {
		s.t.Errorf("chain holds %d certificates, want %d", got, s.chain)
	}
	// The root is not handed out, so the topmost intermediate is the anchor.
	out := s.leaf.verify(above.path)
	if !strings.Contains(out, "OK") {
		s.t.Errorf("openssl verify: %s", out)
	}
}

func (o opened) verify(chain string) string {
	return run(o.t, nil, "openssl", "verify", "-partial_chain", "-trusted", chain, "-untrusted", chain, o.path)
}

func (s subject) openFullchain() {
	s.openFull("fullchain", s.download("fullchain"))
}

// openFull checks a PEM file of leaf and chain.
func (s subject) openFull(what string, o opened) {
	s.t.Helper()
	s.same(what, o.publicKeyOfCertificate())
	if got := o.certificates(); got != s.chain+1 {
		s.t.Errorf("%s holds %d certificates, want %d", what, got, s.chain+1)
	}
}

func (s subject) openKey() {
	s.same("key.pem", s.download("key").publicKeyOfKey())
}

func (s subject) openHAProxy() {
	o := s.download("haproxy")
	s.openFull("haproxy.pem", o)
	s.same("the key of haproxy.pem", o.publicKeyOfKey())
}

func (s subject) openEncryptedKey() {
	o := s.download("pkcs8-encrypted")
	s.same("key.enc.pem", o.openssl("pkey", "-pubout", "-passin", "pass:"+testPassphrase))
	if out, err := try(s.t, nil, "openssl", "pkey", "-noout", "-passin", "pass:another", "-in", o.path); err == nil {
		s.t.Errorf("openssl opens the key with another passphrase: %s", out)
	}
}

func (s subject) openDER() {
	s.same("cert.der", s.download("der").openssl("x509", "-inform", "DER", "-noout", "-pubkey"))
}

func (s subject) openDERKey() {
	s.same("key.der", s.download("der-key").openssl("pkey", "-inform", "DER", "-pubout"))
}

func (s subject) openP7B() {
	for options, form := range map[string]string{"": "PEM", `,"options":{"encoding":"der"}`: "DER"} {
		o := s.download("p7b", options)
		inside := o.beside("inside.pem")
		o.openssl("pkcs7", "-inform", form, "-print_certs", "-out", inside.path)
		s.openFull("bundle.p7b in "+form, inside)
	}
}

func (s subject) openPKCS12() {
	const legacy = "pbeWithSHA1And3-KeyTripleDES-CBC"
	s.openBundle(s.download("pkcs12"), "AES-256-CBC", "")
	s.openBundle(s.download("pkcs12", `,"options":{"alias":"Shop Front","legacy":true}`), legacy, "Shop Front")
}

func (s subject) openBundle(o opened, cipher, alias string) {
	t := s.t
	t.Helper()
	pass := "pass:" + testPassphrase
	info := o.openssl("pkcs12", "-info", "-noout", "-passin", pass)
	if strings.Count(info, cipher) < 2 || cipher == "AES-256-CBC" && strings.Contains(info, "TripleDES") {
		t.Errorf("key and certificates are not under %s:\n%s", cipher, info)
	}
	inside := o.beside("inside.pem")
	o.openssl("pkcs12", "-nodes", "-passin", pass, "-out", inside.path)
	s.openFull("the bundle", inside)
	s.same("the bundle's key", inside.publicKeyOfKey())
	if text, err := os.ReadFile(inside.path); err != nil || alias != "" && !strings.Contains(string(text), "friendlyName: "+alias+"\n") {
		t.Errorf("openssl shows no name %q (%v)", alias, err)
	}
	s.listed(o, "PKCS12", "PrivateKeyEntry", "Alias name: "+strings.ToLower(alias), fmt.Sprintf("Certificate chain length: %d\n", s.chain+1))
}

// listed has keytool list a keystore, and looks for what it must say.
func (s subject) listed(o opened, kind string, want ...string) {
	s.t.Helper()
	list := run(s.t, nil, "keytool", "-J-Duser.language=en", "-list", "-v", "-storetype", kind, "-keystore", o.path, "-storepass", testPassphrase)
	for _, text := range append(want, "contains 1 entry") {
		if !strings.Contains(list, text) {
			s.t.Errorf("keytool does not list %q:\n%s", text, list)
		}
	}
}

func (s subject) openJKS() {
	o := s.download("jks", `,"options":{"alias":"Shop Front"}`)
	s.listed(o, "JKS", "PrivateKeyEntry", "Alias name: shop front\n", fmt.Sprintf("Certificate chain length: %d\n", s.chain+1))
	converted := o.beside("converted.p12")
	run(s.t, nil, "keytool", "-importkeystore", "-noprompt", "-srckeystore", o.path, "-srcstoretype", "JKS", "-srcstorepass", testPassphrase,
		"-destkeystore", converted.path, "-deststoretype", "PKCS12", "-deststorepass", testPassphrase)
	inside := o.beside("inside.pem")
	converted.openssl("pkcs12", "-nodes", "-passin", "pass:"+testPassphrase, "-out", inside.path)
	s.openFull("the keystore", inside)
	s.same("the keystore's key", inside.publicKeyOfKey())
}

func (s subject) openTruststore() {
	o := s.download("jks-truststore")
	list := run(s.t, nil, "keytool", "-J-Duser.language=en", "-list", "-storetype", "JKS", "-keystore", o.path, "-storepass", testPassphrase)
	if strings.Count(list, "trustedCertEntry") != max(s.chain, 1) || strings.Contains(list, "PrivateKeyEntry") {
		s.t.Errorf("keytool lists:\n%s", list)
	}
}

func (s subject) openSecret() {
	o := s.download("k8s-secret", `,"options":{"namespace":"shop"}`)
	text, err := os.ReadFile(o.path)
	noError(s.t, err)
	var manifest struct {
		Kind, Type string
		Metadata   map[string]string
		Data       map[string]string
	}
	noError(s.t, yaml.Unmarshal(text, &manifest))
	if manifest.Kind != "Secret" || manifest.Type != "kubernetes.io/tls" || manifest.Metadata["namespace"] != "shop" || manifest.Metadata["name"] == "" {
		s.t.Errorf("got %+v", manifest.Metadata)
	}
	for name, data := range manifest.Data {
		decoded, err := base64.StdEncoding.DecodeString(data)
		noError(s.t, err)
		noError(s.t, os.WriteFile(o.beside(name).path, decoded, 0o600))
	}
	s.openFull("tls.crt", o.beside("tls.crt"))
	s.same("tls.key", o.beside("tls.key").publicKeyOfKey())
}

func (s subject) openZip() {
	bundle := s.download("zip")
	archive, err := zip.OpenReader(bundle.path)
	noError(s.t, err)
	defer archive.Close()
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	want := []string{"bundle.pkcs12", "cert.pem", "chain.pem", "fullchain.pem", "key.pem"}
	if s.chain == 0 {
		want = slices.Delete(want, 2, 3)
	}
	slices.Sort(names)
	if !slices.Equal(names, want) {
		s.t.Fatalf("bundle.zip holds %q, want %q", names, want)
	}
	run(s.t, nil, "python3", "-m", "zipfile", "-e", bundle.path, bundle.folder)
	s.same("the zip's key", bundle.beside("key.pem").publicKeyOfKey())
	s.openBundle(bundle.beside("bundle.pkcs12"), "AES-256-CBC", "")
}

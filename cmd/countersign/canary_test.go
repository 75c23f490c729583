package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/engine"
)

// canary is a secret that is sent through every path and must be found nowhere.
type canary struct {
	name string
	text []byte
}

// forms are the encodings in which a file could contain the secret: raw, hex in
// either case, and base64 in either alphabet at each of the three alignments.
func (c canary) forms() [][]byte {
	lower := hex.EncodeToString(c.text)
	forms := [][]byte{c.text, []byte(lower), []byte(strings.ToUpper(lower))}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 {
			padded := encoding.EncodeToString(append(make([]byte, shift), c.text...))
			// The characters at both ends also depend on the neighbours.
			forms = append(forms, []byte(padded[(shift*8+5)/6:len(padded)-2]))
		}
	}
	return forms
}

func TestCanaryFormsAreFound(t *testing.T) {
	c := canary{"probe", []byte("a secret of thirty-two bytes, ok")}
	for shift := range 4 {
		for _, text := range []string{
			base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + string(c.text) + "tail")),
			base64.URLEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + string(c.text) + "tail")),
			hex.EncodeToString(c.text), strings.ToUpper(hex.EncodeToString(c.text)), string(c.text),
		} {
			if !c.in([]byte("before " + text + " after")) {
				t.Errorf("shift %d: not found in %q", shift, text)
			}
		}
	}
}

func (c canary) in(text []byte) bool {
	for _, form := range c.forms() {
		if bytes.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestSecretsAreNowhereInClear(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	temp := filepath.Join(base, "tmp")
	noError(t, os.Mkdir(temp, 0o700))
	traces := startCollector(t)
	sent := filepath.Join(base, "audit.log")
	cmd := devCommandOf(binary(t), filepath.Join(base, "data"))
	cmd.Args[slices.Index(cmd.Args, "--listen-admin=")] += "127.0.0.1:0"
	s := launch(t, cmd, filepath.Join(base, "data"), append(traces.settings(t), "TMPDIR="+temp, "COUNTERSIGN_AUDIT_FILE_PATH="+sent)...)
	t.Cleanup(s.kill)
	s.awaitReady()
	s.allow(true)
	canaries := append(s.everyPath(), canary{"credential for the collector", []byte(traces.credential)})
	for name, key := range s.boot.APIKeys {
		canaries = append(canaries, canary{"API key of the " + name, []byte(key)})
	}
	eventually(t, "a download among the audit entries that are sent on", func() bool { return strings.Contains(read(t, sent), engine.ActionCertificateDownloaded) })
	s.searchProcesses(canaries)
	s.searchMetrics(canaries)
	searchFiles(t, base, canaries) // while it runs: write-ahead logs, sockets' folders
	s.stop()
	searchFiles(t, base, canaries)
	traces.search(canaries)
	archive := filepath.Join(base, "archive")
	noError(t, os.Mkdir(archive, 0o700))
	s.purge(archive)
	archived(t, archive, s.boot.ProjectID)
	searchFiles(t, base, canaries)
}

// searchFiles looks into every file but the bootstrap file, which is there to
// hold keys.
func searchFiles(t *testing.T, base string, canaries []canary) {
	t.Helper()
	files := 0
	noError(t, filepath.WalkDir(base, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || entry.Name() == "bootstrap.json" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, c := range canaries {
			if c.in(text) {
				t.Errorf("%s is in clear in %s", c.name, strings.TrimPrefix(path, base))
			}
		}
		return nil
	}))
	if files < 4 {
		t.Errorf("only %d files were there to search", files)
	}
}

// searchMetrics looks into what operators read.
func (s *server) searchMetrics(canaries []canary) {
	for _, page := range []string{"/metrics", "/readyz"} {
		answer, err := httpClient.Get(s.operators() + page)
		noError(s.t, err)
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		noError(s.t, err)
		if page == "/metrics" && !bytes.Contains(text, []byte("countersign_redemptions_total")) {
			s.t.Error("the metrics have no downloads")
		}
		for _, c := range canaries {
			if c.in(text) {
				s.t.Errorf("%s is in %s", c.name, page)
			}
		}
	}
}

// searchProcesses looks into arguments and environment of server and plugins.
func (s *server) searchProcesses(canaries []canary) {
	pids := append(s.children(""), s.cmd.Process.Pid)
	if len(pids) < 4 {
		s.t.Errorf("only %d processes were there to search", len(pids))
	}
	for _, pid := range pids {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		noError(s.t, err)
		if !regexp.MustCompile(`Max core file size +[01] +[01] `).Match(limits) {
			s.t.Errorf("process %d may write a core file: %s", pid, limits)
		}
		for _, file := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			noError(s.t, err)
			for _, c := range canaries {
				if c.in(text) {
					s.t.Errorf("%s is in %s of process %d", c.name, file, pid)
				}
			}
		}
	}
}

// everyPath sends a key, passphrases and tokens through imports, downloads and
// their errors, and returns them.
func (s *server) everyPath() []canary {
	leaf, key := newCanaryCertificate(s.t)
	der := pkcs8(s.t, key)
	d, err := key.Bytes()
	noError(s.t, err)
	canaries := []canary{{"private key", d}}
	add := func(name, text string) string {
		canaries = append(canaries, canary{name, []byte(text)})
		return text
	}
	importPass, badPass := add("import passphrase", "canary-import-passphrase-7261"), add("wrong passphrase", "canary-wrong-passphrase-9917")
	bundle, err := pkcs12.Modern2023.Encode(key, leaf, nil, importPass)
	noError(s.t, err)
	certificatePEM, keyPEM := pemOf("CERTIFICATE", leaf.Raw), pemOf("PRIVATE KEY", der)
	certificates := s.project() + "/certificates"
	var c struct{ ID string }
	s.must(201, nil, "admin", "POST", certificates, object("name", "p12", "pkcs12_base64", base64.StdEncoding.EncodeToString(bundle), "passphrase", importPass))
	s.must(201, &c, "admin", "POST", certificates, object("name", "pem", "certificate_pem", certificatePEM, "private_key_pem", keyPEM))
	s.must(422, nil, "admin", "POST", certificates, object("name", "p12", "pkcs12_base64", base64.StdEncoding.EncodeToString(bundle), "passphrase", badPass))
	s.must(422, nil, "admin", "POST", certificates, object("name", "pem", "certificate_pem", keyPEM, "private_key_pem", keyPEM))
	s.must(422, nil, "admin", "POST", certificates, object("name", "pem", "certificate_pem", certificatePEM, "private_key_pem", keyPEM, "passphrase", badPass, "unknown", keyPEM))
	s.must(403, nil, "operator", "POST", certificates, object("name", "pem", "certificate_pem", certificatePEM, "private_key_pem", keyPEM))
	s.call("admin", "POST", certificates, keyPEM) // no JSON at all

	downloads := certificates + "/" + c.ID + "/downloads"
	pass := add("passphrase", "canary-passphrase-5530812")
	for _, format := range []string{"cert", "fullchain", "key", "haproxy", "pkcs12", "zip", "jks", "jks-truststore", "p7b", "der", "der-key", "pkcs8-encrypted", "k8s-secret"} {
		var m minted
		s.must(201, &m, "operator", "POST", downloads, object("format", format, "passphrase", pass))
		add("token of "+format, m.Token)
		s.call("", http.MethodHead, "/api/v1/downloads/"+m.Token, "")
		s.must(200, nil, "", "POST", "/api/v1/downloads", object("token", m.Token))
		s.must(410, nil, "", "GET", "/api/v1/downloads/"+m.Token, "")
	}
	s.must(422, nil, "operator", "POST", downloads, object("format", "pkcs12", "passphrase", add("short passphrase", "cnry7!x")))
	s.must(422, nil, "operator", "POST", downloads, object("format", "nope", "passphrase", pass))
	s.must(422, nil, "operator", "POST", downloads, object("format", "pkcs12", "passphrase", pass, pass, pass))
	s.must(403, nil, "viewer", "POST", downloads, object("format", "pkcs12", "passphrase", pass))
	unknown := add("unknown token", strings.Repeat("canary-unknown", 3)+"x")
	s.must(404, nil, "", "GET", "/api/v1/downloads/"+unknown, "")
	s.must(404, nil, "", "POST", "/api/v1/downloads", object("token", unknown))
	badKey := add("bad API key", "csk_canary0000000000000000000000000000000000000000000")
	s.boot.APIKeys["bad"] = badKey
	s.must(401, nil, "bad", "GET", s.project()+"/certificates", "")
	delete(s.boot.APIKeys, "bad")
	var made struct{ Secret string }
	s.must(201, &made, "admin", "POST", s.project()+"/api-keys", object("name", "made", "role", "viewer"))
	add("made API key", made.Secret)
	return s.failingRender(canaries, downloads, pass)
}

// failingRender kills the plugin during a render whose job contains the private key.
func (s *server) failingRender(canaries []canary, downloads, pass string) []canary {
	var m minted
	s.must(201, &m, "operator", "POST", downloads, object("format", "pkcs12", "passphrase", pass, "ttl_seconds", 1))
	for _, pid := range s.children("pkcs12") {
		process, err := os.FindProcess(pid)
		noError(s.t, err)
		noError(s.t, process.Kill())
	}
	s.fetch(m.Token) // whatever it answers
	<-time.After(time.Until(m.ExpiresAt))
	s.must(410, nil, "", "GET", "/api/v1/downloads/"+m.Token, "")
	eventually(s.t, "the request to end", func() bool { return s.status(m.RequestID) != "issued" })
	return append(canaries, canary{"expired token", []byte(m.Token)})
}

func object(members ...any) string {
	o := map[string]any{}
	for i := 0; i < len(members); i += 2 {
		o[members[i].(string)] = members[i+1]
	}
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(text)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	noError(t, err)
	return der
}

func newCanaryCertificate(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	a, err := newAuthority("Canary", nil, time.Now())
	noError(t, err)
	leaf, der, err := newLeaf("canary.example.com", newECDSA, a, time.Now())
	noError(t, err)
	key, err := x509.ParsePKCS8PrivateKey(der)
	noError(t, err)
	return leaf, key.(*ecdsa.PrivateKey)
}

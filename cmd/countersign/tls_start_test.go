package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The server starts on files that it can use, and on no others.
func TestWrongFilesOfTLSAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newTestAuthority(t)
	a.issue(dir, "server")
	a.issue(dir, "other")
	key, err := os.ReadFile(filepath.Join(dir, "server.key"))
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(dir, "open.key"), key, 0o600))
	noError(t, os.Chmod(filepath.Join(dir, "open.key"), 0o640))
	for _, c := range [][]string{
		{"server.pem", "open.key", "server.pem", "chmod go-rwx"},
		{"server.pem", "other.key", "server.pem", "does not match"},
		{"server.pem", "nowhere", "server.pem", "tls.key_file"},
		{"nowhere", "server.key", "server.pem", "tls.cert_file"},
		{"server.pem", "server.key", "server.key", "tls.client_ca_file"},
	} {
		out, err := try(t, nil, binary(t), "serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--listen-admin=",
			"--tls-cert-file", filepath.Join(dir, c[0]), "--tls-key-file", filepath.Join(dir, c[1]), "--tls-client-ca-file", filepath.Join(dir, c[2]))
		if err == nil || !strings.Contains(out, c[3]) {
			t.Errorf("%v: %v\n%s", c, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a start that was refused has made the data folder")
	}
}

// The address for plain HTTP redirects pages to the public URL, and nothing else.
func TestRedirectListen(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	address := l.Addr().String()
	noError(t, l.Close())
	s := startTLS(t, "--listen", address, "--public-url", "https://"+address, "--tls-redirect-listen", "127.0.0.1:0")
	text, err := os.ReadFile(s.log.Name())
	noError(t, err)
	from := regexp.MustCompile(`redirecting pages to HTTPS" from=(http://\S+)`).FindSubmatch(text)
	if from == nil {
		t.Fatalf("no address in the log:\n%s", text)
	}
	answer, err := s.client.Get(string(from[1]) + "/")
	noError(t, err)
	noError(t, answer.Body.Close())
	if answer.StatusCode != http.StatusOK || answer.Request.URL.String() != s.url+"/" || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%s: %d %v", answer.Request.URL, answer.StatusCode, answer.Header)
	}
	plain := &server{t: t, url: string(from[1]), boot: s.boot}
	if status, text := plain.call("admin", http.MethodGet, "/api/v1/me", ""); status != http.StatusForbidden || problem(text).Code != "https_required" || !strings.Contains(problem(text).Detail, "revoke") {
		t.Errorf("%d %s", status, text)
	}
	s.stop()
	if !s.cmd.ProcessState.Success() {
		t.Errorf("%v", s.cmd.ProcessState)
	}
}

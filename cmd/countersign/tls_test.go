package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// tlsServer is a production server whose certificate is in the folder certificates.
type tlsServer struct {
	*server
	certificates string
	authority    testAuthority
	trust        *tls.Config // of a client that trusts the authority
}

// startTLS starts a server with server.pem and server.key of an authority, ca.pem, which
// has also made client.pem and client.key.
func startTLS(t *testing.T, args ...string) tlsServer {
	t.Helper()
	base := t.TempDir()
	s := tlsServer{certificates: filepath.Join(base, "certificates"), authority: newTestAuthority(t)}
	noError(t, os.Mkdir(s.certificates, 0o700))
	s.authority.write(s.file("ca.pem"))
	s.authority.issue(s.certificates, "server")
	s.authority.issue(s.certificates, "client")
	s.trust = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "server.test", Certificates: []tls.Certificate{s.pair("client")}}
	s.trust.RootCAs.AddCert(s.authority.cert)
	bootstrap := filepath.Join(base, "bootstrap.json")
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "CERTIFICATES", s.certificates)
	}
	cmd := exec.Command(binary(t), append([]string{
		"serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--bootstrap", bootstrap,
		"--tls-cert-file", s.file("server.pem"), "--tls-key-file", s.file("server.key"),
	}, args...)...)
	s.server = serveBy(t, &http.Client{Transport: &http.Transport{TLSClientConfig: s.trust}, Timeout: time.Minute}, cmd, bootstrap)
	return s
}

func (s tlsServer) file(name string) string { return filepath.Join(s.certificates, name) }

func (s tlsServer) pair(name string) tls.Certificate {
	s.authority.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.file(name+".pem"), s.file(name+".key"))
	noError(s.authority.t, err)
	return pair
}

func (s tlsServer) address() string { return strings.TrimPrefix(s.url, "https://") }

// connect makes a connection and a call on it.
func (s tlsServer) connect(change ...func(*tls.Config)) (tls.ConnectionState, error) {
	config := s.trust.Clone()
	for _, c := range change {
		c(config)
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", s.address(), config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	noError(s.t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	if err != nil {
		return tls.ConnectionState{}, err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("answered %q", answer)
	}
	return conn.ConnectionState(), err
}

// serial is that of the certificate which the server shows.
func (s tlsServer) serial() string {
	s.t.Helper()
	state, err := s.connect()
	noError(s.t, err)
	return state.PeerCertificates[0].SerialNumber.Text(16)
}

// shows waits until the server shows the certificate in a file.
func (s tlsServer) shows(name string) {
	s.t.Helper()
	want := s.pair(name).Leaf.SerialNumber.Text(16)
	eventually(s.t, "the new certificate", func() bool { return s.serial() == want })
}

// tlsStatus is what operators read of the certificate, and the value of its metric.
func (s tlsServer) tlsStatus() (status wire.TLSStatus, failing string) {
	s.t.Helper()
	var r struct{ TLS wire.TLSStatus }
	noError(s.t, json.Unmarshal(s.fromOperators("/readyz"), &r))
	found := regexp.MustCompile(`(?m)^countersign_tls_reload_failing (\d)$`).FindSubmatch(s.fromOperators("/metrics"))
	if found == nil {
		s.t.Fatal("there is no metric of the certificate")
	}
	return r.TLS, string(found[1])
}

func (s tlsServer) fromOperators(path string) []byte {
	s.t.Helper()
	answer, err := http.Get(s.operators() + path)
	noError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	noError(s.t, err)
	return text
}

// The server speaks TLS 1.2 and 1.3 with HTTP/1.1 and nothing else: no older version, no
// suite that Go calls insecure, no other protocol, no session that skips the handshake.
func TestServedTLS(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	only := func(version uint16) func(*tls.Config) {
		return func(c *tls.Config) { c.MinVersion, c.MaxVersion = version, version }
	}
	for version, served := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		state, err := s.connect(only(version), func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} })
		if served != (err == nil) || served && (state.Version != version || state.NegotiatedProtocol != "http/1.1") {
			t.Errorf("%s: %v, %q", tls.VersionName(version), err, state.NegotiatedProtocol)
		}
	}
	if _, err := s.connect(func(c *tls.Config) { c.NextProtos = []string{"h2"} }); err == nil {
		t.Error("a client that speaks HTTP/2 only is served")
	}
	cache := tls.NewLRUClientSessionCache(1)
	for range 2 {
		if state, err := s.connect(func(c *tls.Config) { c.ClientSessionCache = cache }); err != nil || state.DidResume {
			t.Errorf("resumed: %v, %v", state.DidResume, err)
		}
	}
	// With a certificate of RSA, which most of the insecure suites need.
	run(t, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", "-keyout", s.file("server.key"), "-out", s.file("server.pem"))
	trustsAll := func(c *tls.Config) { c.InsecureSkipVerify = true }
	eventually(t, "the new certificate", func() bool {
		state, err := s.connect(trustsAll)
		return err == nil && state.PeerCertificates[0].PublicKeyAlgorithm == x509.RSA
	})
	suites := map[uint16]bool{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: true}
	for _, suite := range tls.InsecureCipherSuites() {
		suites[suite.ID] = false
	}
	for id, served := range suites {
		_, err := s.connect(trustsAll, only(tls.VersionTLS12), func(c *tls.Config) { c.CipherSuites = []uint16{id} })
		if served != (err == nil) {
			t.Errorf("%s: %v", tls.CipherSuiteName(id), err)
		}
	}
	s.refusesHTTP()
}

// refusesHTTP checks that a call without TLS is told so, and is not served.
func (s tlsServer) refusesHTTP() {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://"+s.address()+"/api/v1/me", nil)
	noError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+s.key("admin"))
	answer, err := httpClient.Do(request)
	noError(s.t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusBadRequest || !answer.Close || !strings.Contains(string(text), "HTTP request to an HTTPS server") {
		s.t.Errorf("plain HTTP: %d %s %v", answer.StatusCode, text, err)
	}
}

// New files are used without a restart. Calls go on meanwhile, each on a connection of its
// own, and none of them fails, also not while the files do not belong together.
func TestNewCertificatesUnderLoad(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.connect(); err != nil {
					t.Errorf("a call failed: %v", err)
				}
			}
		})
	}
	for range times(5, 100) {
		s.authority.issue(s.certificates, "server") // which does not replace both at once
		s.shows("server")
	}
	stop()
	callers.Wait()
}

// Files that are not valid change nothing: the certificate of before is shown, the log
// says why once, and operators see it until the files are valid again.
func TestBrokenCertificatesKeepTheOneBefore(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	before := s.serial()
	good, err := os.ReadFile(s.file("server.key"))
	noError(t, err)
	other := newTestAuthority(t)
	for name, breaks := range map[string]func(){
		"no key":  func() { noError(t, os.WriteFile(s.file("server.key"), []byte("canary-key"), 0o600)) },
		"missing": func() { noError(t, os.Remove(s.file("server.key"))) },
		"of another key": func() {
			other.issue(s.certificates, "other")
			noError(t, os.Rename(s.file("other.key"), s.file("server.key")))
		},
		"read by others": func() {
			noError(t, os.WriteFile(s.file("server.key"), append([]byte("\n"), good...), 0o644))
			noError(t, os.Chmod(s.file("server.key"), 0o644))
		},
	} {
		logged := s.failuresLogged()
		breaks()
		for range 3 {
			if got := s.serial(); got != before {
				t.Errorf("%s: the certificate %s is shown, not %s", name, got, before)
			}
		}
		status, failing := s.tlsStatus()
		if failing != "1" || status.Problem == "" || status.Serial != before || !status.NotAfter.After(time.Now()) {
			t.Errorf("%s: operators see %+v, failing %s", name, status, failing)
		}
		if got := s.failuresLogged() - logged; got != 1 {
			t.Errorf("%s: logged %d times", name, got)
		}
		noError(t, os.WriteFile(s.file("new.key"), good, 0o600))
		noError(t, os.Rename(s.file("new.key"), s.file("server.key")))
		if status, failing := s.tlsStatus(); failing != "0" || status.Problem != "" {
			t.Errorf("%s, mended: operators see %+v, failing %s", name, status, failing)
		}
	}
	log, err := os.ReadFile(s.log.Name())
	noError(t, err)
	if bytes.Contains(log, []byte("canary-key")) {
		t.Error("the log has the key")
	}
}

func (s tlsServer) failuresLogged() int {
	s.t.Helper()
	text, err := os.ReadFile(s.log.Name())
	noError(s.t, err)
	return strings.Count(string(text), "cannot be read again")
}

// At SIGHUP the files are read again even if nothing shows that they changed.
func TestHangupReadsTheCertificateAgain(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	const size = 4096 // of every file, so that sizes do not differ
	pad := func(text []byte) []byte { return append(text, bytes.Repeat([]byte("\n"), size-len(text))...) }
	names, texts := []string{"server.pem", "server.key"}, map[string][]byte{}
	rewrite := func() {
		for _, name := range names {
			noError(t, os.WriteFile(s.file(name), texts[name], 0o600))
			noError(t, os.Chtimes(s.file(name), time.Unix(1e9, 0), time.Unix(1e9, 0)))
		}
	}
	read := func(folder string) {
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(folder, name))
			noError(t, err)
			texts[name] = pad(text)
		}
	}
	read(s.certificates)
	rewrite()
	before := s.serial()
	noError(t, os.Mkdir(s.file("next"), 0o700))
	s.authority.issue(s.file("next"), "server")
	read(s.file("next"))
	rewrite()
	if got := s.serial(); got != before {
		t.Fatal("the change was noticed before SIGHUP, so this shows nothing")
	}
	noError(t, s.cmd.Process.Signal(syscall.SIGHUP))
	s.shows("server")
}

// Nobody is served without a client certificate of the authority, and a new file of
// authorities applies to the next connection. The client of the command line has one.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--tls-client-ca-file", "CERTIFICATES/ca.pem")
	none := func(c *tls.Config) { c.Certificates = nil }
	if _, err := s.connect(); err != nil {
		t.Fatal(err)
	}
	other := newTestAuthority(t)
	other.issue(s.certificates, "other")
	ofOther := func(c *tls.Config) { c.Certificates = []tls.Certificate{s.pair("other")} }
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, change := range map[string]func(*tls.Config){"no certificate": none, "of another authority": ofOther} {
			if _, err := s.connect(change, func(c *tls.Config) { c.MaxVersion = version }); err == nil || !strings.Contains(err.Error(), "tls: ") {
				t.Errorf("%s, %s: %v", name, tls.VersionName(version), err)
			}
		}
	}
	cli := func(code int, args ...string) {
		t.Helper()
		cmd := exec.Command(binary(t), append([]string{"cert", "list"}, args...)...)
		cmd.Env = append(os.Environ(), serverVariable+"="+s.url, projectVariable+"="+s.boot.ProjectID, keyVariable+"="+s.key("admin"))
		out, _ := cmd.CombinedOutput() // the exit code is compared
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, code, out)
		}
	}
	ca, certificate, key := "--ca-file="+s.file("ca.pem"), "--client-cert-file="+s.file("client.pem"), "--client-key-file="+s.file("client.key")
	cli(0, ca, certificate, key)
	cli(exitUnreachable, ca)
	cli(exitUnreachable, certificate, key)
	cli(exitUsage, ca, certificate)
	cli(exitUsage, ca, key)
	cli(exitFailed, "--ca-file="+s.file("nowhere"))
	cli(exitFailed, ca, "--client-cert-file="+s.file("other.pem"), key)

	other.write(s.file("ca.pem"))
	if _, err := s.connect(); err == nil {
		t.Error("a certificate of the authority of before is accepted")
	}
	if _, err := s.connect(ofOther); err != nil {
		t.Error(err)
	}
}

// A server that asks for client certificates without demanding them serves a key that is
// bound to one only on connections that show it, and so a key that was made with that key.
func TestAKeyIsBoundToAClientCertificate(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--tls-client-ca-file", "CERTIFICATES/ca.pem", "--tls-client-certificates", "optional")
	s.authority.issue(s.certificates, "another")
	newTestAuthority(t).issue(s.certificates, "stranger")
	clients := map[string]*http.Client{}
	for _, name := range []string{"client", "another", "stranger", ""} {
		trust := s.trust.Clone()
		if trust.Certificates = nil; name != "" {
			trust.Certificates = []tls.Certificate{s.pair(name)}
		}
		clients[name] = &http.Client{Transport: &http.Transport{TLSClientConfig: trust}, Timeout: time.Minute}
	}
	out := filepath.Join(t.TempDir(), "key")
	cmd := exec.Command(binary(t), "api-key", "create", "--name", "bound", "--role", "admin", "--bound-to-cert-file", s.file("client.pem"), "--out", out, "--ca-file", s.file("ca.pem"))
	cmd.Env = append(os.Environ(), serverVariable+"="+s.url, projectVariable+"="+s.boot.ProjectID, keyVariable+"="+s.key("admin"))
	if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "Client certificate") {
		t.Fatalf("%v: %s", err, text)
	}
	secret, err := os.ReadFile(out)
	noError(t, err)
	s.boot.APIKeys["bound"] = strings.TrimSpace(string(secret))
	s.client = clients["client"]
	var child struct {
		Secret      string
		Certificate string `json:"client_certificate_sha256"`
	}
	s.must(http.StatusCreated, &child, "bound", http.MethodPost, s.project()+"/api-keys", `{"name":"child","role":"viewer"}`)
	if s.boot.APIKeys["child"] = child.Secret; len(child.Certificate) != 64 {
		t.Errorf("a key that was made with a bound one is bound to %q", child.Certificate)
	}
	for name, client := range clients {
		s.client = client
		for key, bound := range map[string]bool{"bound": true, "child": true, "admin": false} {
			want := http.StatusOK
			switch status, body := s.call(key, http.MethodGet, "/api/v1/me", ""); {
			case name == "stranger": // TLS refuses it
				if status != 0 {
					t.Errorf("%s with the certificate %q: %d %s", key, name, status, body)
				}
			case bound && name != "client":
				want = http.StatusUnauthorized
				fallthrough
			default:
				if status != want {
					t.Errorf("%s with the certificate %q: %d %s", key, name, status, body)
				}
			}
		}
	}
}

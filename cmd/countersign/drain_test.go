package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// drainingServer is a production server that got SIGTERM.
func drainingServer(t *testing.T, drain string) *server {
	t.Helper()
	base := t.TempDir()
	file := filepath.Join(base, "bootstrap.json")
	s := serveOn(t, exec.Command(binary(t), "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file, "--drain", drain), file)
	noError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "a drain", func() bool {
		text, err := os.ReadFile(s.log.Name())
		noError(t, err)
		return strings.Contains(string(text), "draining")
	})
	return s
}

// A server that drains is not ready and serves every call whole, mints and redemptions
// included. A second signal ends the drain, and the calls under way still end.
func TestDrainServesUntilASecondSignal(t *testing.T) {
	t.Parallel()
	s := drainingServer(t, "1h")
	for _, path := range []string{"/readyz", "/readyz/redeem", "/readyz/mint"} {
		if status, text := s.call("", "GET", path, ""); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	made, err := sampleCertificates()
	noError(t, err)
	var c bootstrapCertificate
	s.must(http.StatusCreated, &c, "admin", "POST", s.project()+"/certificates", object("name", "drain", "certificate_pem", pemOf("CERTIFICATE", made[0].leaf.Raw)))
	for range 20 {
		var m minted
		s.must(http.StatusCreated, &m, "admin", "POST", s.project()+"/certificates/"+c.ID+"/downloads", `{"format":"cert","passphrase":""}`)
		if status, text := s.fetch(m.Token); status != http.StatusOK {
			t.Fatalf("%d %s", status, text)
		}
	}
	s.stop()
	if !s.cmd.ProcessState.Success() {
		t.Errorf("the second signal: %v", s.cmd.ProcessState)
	}
}

// The drain ends by itself.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	s := drainingServer(t, "10ms")
	s.awaitEnd()
	if !s.cmd.ProcessState.Success() {
		t.Errorf("%v", s.cmd.ProcessState)
	}
}

package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// A server serves on a MongoDB that demands TLS with client certificates, and a user. It
// goes on, without a restart, when the password and all certificates are exchanged, and
// neither its log nor an error has any of the credential or the URI.
func TestServeOnSecuredMongoDB(t *testing.T) {
	t.Parallel()
	program, base, mongodb := binary(t), t.TempDir(), mongotest.ServeSecured(t)
	mongodb.User("createUser", "canary-user", "canary-one")
	passwordFile := mongodb.Replace("password", "canary-one\n")
	file := filepath.Join(base, "bootstrap.json")
	serve := func(more ...string) *exec.Cmd {
		cmd := exec.Command(program, append([]string{
			"serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file, "--public-url", "",
			"--mongodb-username-file", mongodb.Replace("user", "canary-user"), "--mongodb-password-file", passwordFile,
		}, more...)...)
		cmd.Env = append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+mongodb.URI("countersign", "appName", "canary-app"))
		return cmd
	}
	s := serveOn(t, serve(), file)
	made, err := sampleCertificates()
	noError(t, err)
	var c bootstrapCertificate
	s.must(http.StatusCreated, &c, "admin", "POST", s.project()+"/certificates", object("name", "one", "certificate_pem", pemOf("CERTIFICATE", made[0].leaf.Raw)))
	s.boot.Certificates = []bootstrapCertificate{c}
	s.boot.APIKeys["operator"] = s.boot.APIKeys["admin"]
	before := s.mint(0, "cert")

	mongodb.User("updateUser", "canary-user", "canary-two")
	mongodb.Replace("password", "canary-two\n")
	mongodb.Renew()
	eventually(t, "a server that is ready again", func() bool {
		status, _ := s.call("", http.MethodGet, "/readyz", "")
		return status == http.StatusOK
	})
	s.once("a token of before the exchange", before.Token)
	s.once("a token of after it", s.mint(0, "cert").Token)

	mongodb.User("updateUser", "canary-user", "canary-three") // the file still has the password of before
	mongodb.Renew()
	eventually(t, "a server that says why it is not ready", func() bool {
		s.call("", http.MethodGet, "/readyz", "")
		text, err := os.ReadFile(s.log.Name())
		noError(t, err)
		return strings.Contains(string(text), "MongoDB refused the user or the password")
	})
	out, err := serve("--data", filepath.Join(base, "other"), "--wait", "1h").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "correct mongodb.username_file and mongodb.password_file") {
		t.Errorf("a start with a wrong password: %v\n%s", err, out)
	}
	mongodb.Replace("password", "canary-three\n")
	eventually(t, "a server that is ready again", func() bool {
		status, _ := s.call("", http.MethodGet, "/readyz", "")
		return status == http.StatusOK
	})
	s.once("a token of after a wrong password", s.mint(0, "cert").Token)
	log, err := os.ReadFile(s.log.Name())
	noError(t, err)
	if text := string(log) + string(out); strings.Contains(text, "canary") || strings.Contains(text, mongodb.Dir) {
		t.Errorf("the log has a part of the credential or the URI:\n%s", text)
	}
}

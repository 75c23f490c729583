package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// mongoURI is a database behind MongoDB's wire protocol: an external server if
// there is one, otherwise FerretDB in this process.
func mongoURI(t *testing.T) string {
	t.Helper()
	if uri := mongotest.External(); uri != "" {
		return uri
	}
	uri, stop, err := mongotest.Serve(t.TempDir())
	noError(t, err)
	t.Cleanup(func() { noError(t, stop()) })
	return uri
}

// The whole on MongoDB: bootstrap, import, mint, 16 callers for one file, the
// record of it, and all of it there again after a kill.
func TestServeOnMongoDB(t *testing.T) {
	t.Parallel()
	program, base, uri := binary(t), t.TempDir(), mongoURI(t)
	file := filepath.Join(base, "bootstrap.json")
	serve := func() *server {
		cmd := exec.Command(program, "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file, "--public-url", "")
		cmd.Env = append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+uri)
		s := serveOn(t, cmd, file)
		s.dir, s.mongoURI = filepath.Join(base, "data"), uri
		return s
	}
	s := serve()
	leaf, key := newCanaryCertificate(t)
	var c struct{ ID, Name string }
	s.must(http.StatusCreated, &c, "admin", "POST", s.project()+"/certificates",
		object("name", "one", "certificate_pem", pemOf("CERTIFICATE", leaf.Raw), "private_key_pem", pemOf("PRIVATE KEY", pkcs8(t, key))))
	s.boot.Certificates = []bootstrapCertificate{{ID: c.ID, Name: c.Name}}
	s.boot.APIKeys["operator"] = s.boot.APIKeys["admin"]
	s.allow(true)
	used, kept := s.mint(0, "pkcs12"), s.mint(0, "key")
	if got := fetchers(s, 16, used.Token); got["200 "] != 1 || got["410 token_consumed"] != 15 {
		t.Errorf("16 callers, one token: %v", got)
	}
	if n := s.downloads(used.RequestID, "cert.downloaded"); n != 1 {
		t.Errorf("%d audit entries of the download", n)
	}
	eventually(t, "the request to be consumed", func() bool { return s.status(used.RequestID) == "consumed" })
	if _, err := os.Stat(filepath.Join(base, "data", "db", "countersign.db")); err == nil {
		t.Error("SQLite is used beside MongoDB")
	}
	s.kill()

	boot := s.boot
	s = serve()
	s.boot.APIKeys, s.boot.Certificates = boot.APIKeys, boot.Certificates
	if got := fetchers(s, 4, kept.Token); got["200 "] != 1 {
		t.Errorf("a token of before the kill: %v", got)
	}
	s.auditOK()
}

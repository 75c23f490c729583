package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A restart keeps what administrators changed in the folder's data.
func TestDevRestartKeepsData(t *testing.T) {
	t.Parallel()
	program, dir := binary(t), t.TempDir()+"/data"
	s := start(t, program, dir)
	first := s.boot
	s.must(http.StatusCreated, nil, "system", "POST", "/api/v1/projects", object("name", "Another"))
	s.must(http.StatusNoContent, nil, "admin", "DELETE", s.project()+"/members/"+s.person("viewer"), "")
	s.stop()

	s = start(t, program, dir)
	if s.boot.ProjectID != first.ProjectID || s.boot.Certificates[0] != first.Certificates[0] || s.boot.APIKeys["admin"] != first.APIKeys["admin"] {
		t.Errorf("the bootstrap file changed: %+v, was %+v", s.boot.Certificates, first.Certificates)
	}
	if status, _ := s.call("viewer", "GET", s.project()+"/certificates", ""); status != http.StatusNotFound {
		t.Errorf("a removed member's key answers %d after the restart", status)
	}
	s.stop()

	// Without the file, the server makes new keys for the same users and revokes the
	// old ones.
	noError(t, os.Remove(filepath.Join(filepath.Dir(dir), "bootstrap.json")))
	s = start(t, program, dir)
	if s.boot.ProjectID != first.ProjectID || s.boot.Certificates[0] != first.Certificates[0] {
		t.Error("the sample project is another")
	}
	for name, key := range first.APIKeys {
		if s.boot.APIKeys[name] == key {
			t.Errorf("the key of the %s is the old one", name)
		}
		s.boot.APIKeys["old"] = key
		if status, _ := s.call("old", "GET", s.project()+"/certificates", ""); status != http.StatusUnauthorized {
			t.Errorf("the old key of the %s answers %d", name, status)
		}
	}
	old := s.boot.SystemAPIKey
	if s.boot.SystemAPIKey = first.SystemAPIKey; old == first.SystemAPIKey {
		t.Error("the key of the system is the old one")
	}
	if status, _ := s.call("system", "GET", "/api/v1/users", ""); status != http.StatusUnauthorized {
		t.Errorf("the old key of the system answers %d", status)
	}
	s.mint(0, "cert")

	// The file's password signs its person in.
	status, body := s.call("", "POST", "/api/v1/session", object("username", s.boot.UI.Username, "password", s.boot.UI.Password))
	if status != http.StatusOK || !strings.Contains(string(body), `"csrf_token"`) {
		t.Errorf("signing in answers %d: %s", status, body)
	}
}

// person is the user id behind a key.
func (s *server) person(key string) string {
	s.t.Helper()
	var me struct{ User struct{ ID string } }
	s.must(http.StatusOK, &me, key, "GET", "/api/v1/me", "")
	return me.User.ID
}

// The bootstrap is repeated at the next start if its file could not be written.
func TestServeBootstrapsOnceAndWhole(t *testing.T) {
	t.Parallel()
	program, base := binary(t), t.TempDir()
	serve := func(file string) *exec.Cmd {
		return exec.Command(program, "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file)
	}
	out, err := serve("/proc/nowhere/bootstrap.json").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "write bootstrap file") {
		t.Fatalf("a file that cannot be written: %v\n%s", err, out)
	}
	file := filepath.Join(base, "bootstrap.json")
	s := serveOn(t, serve(file), file)
	s.must(http.StatusOK, nil, "admin", "GET", s.project()+"/members", "")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode: %v, %v", info.Mode(), err)
	}
}

// serveOn runs a production server, which writes its address only to its log.
func serveOn(t *testing.T, cmd *exec.Cmd, file string) *server {
	t.Helper()
	return serveBy(t, httpClient, cmd, file)
}

// serveBy is serveOn for a server that this client calls.
func serveBy(t *testing.T, client *http.Client, cmd *exec.Cmd, file string) *server {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "server.log"))
	noError(t, err)
	s := &server{t: t, cmd: cmd, log: log, ended: make(chan struct{}), client: client}
	cmd.Stdout, cmd.Stderr = log, log
	noError(t, cmd.Start())
	go func() {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(s.ended)
	}()
	t.Cleanup(s.kill)
	eventually(t, "a ready server", func() bool {
		s.failIfEnded()
		text, err := os.ReadFile(log.Name())
		noError(t, err)
		address := regexp.MustCompile(`msg=serving url=(\S+)`).FindSubmatch(text)
		b, _ := readBootstrap(file) // until it is there
		if address == nil || b == nil {
			return false
		}
		s.boot, s.url = *b, string(address[1])
		status, _ := s.call("", "GET", "/readyz", "")
		return status == http.StatusOK
	})
	return s
}

// First starts that cannot write their bootstrap file cost a later one a single wait at
// most, and nobody is said to have made the administrator. A file that can never be
// written is found before others wait for it.
func TestFailedFirstStartsAreWaitedForOnce(t *testing.T) {
	t.Parallel()
	base, uri := t.TempDir(), mongoURI(t)
	file := filepath.Join(base, "bootstrap.json")
	serve := func(file string) *exec.Cmd {
		cmd := exec.Command(binary(t), "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file)
		cmd.Env = append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+uri)
		return cmd
	}
	fails := func(file, want string, waits int) {
		t.Helper()
		out, err := serve(file).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) || strings.Count(string(out), "waiting for it") != waits {
			t.Fatalf("a start with the bootstrap file %s: %v\n%s", file, err, out)
		}
	}
	noError(t, os.WriteFile(file, []byte("{}"), 0o600))
	fails(filepath.Join(file, "under-a-file.json"), "write bootstrap file", 0)
	fails(file, "move the file away", 0) // that it was tried is stored
	fails(file, "move the file away", 1)
	noError(t, os.Remove(file))
	s := serveOn(t, serve(file), file)
	log, err := os.ReadFile(s.log.Name())
	noError(t, err)
	if strings.Count(string(log), "waiting for it") != 1 || strings.Contains(string(log), "made the first administrator") {
		t.Errorf("the start after two that failed:\n%s", log)
	}
}

// A start without the key file of its installation makes none in its place: it would
// open nothing.
func TestALostKeyFileIsNotReplaced(t *testing.T) {
	t.Parallel()
	program, base := binary(t), t.TempDir()
	file, key := filepath.Join(base, "bootstrap.json"), filepath.Join(base, "data", "keys", "local.key")
	serve := func() *exec.Cmd {
		return exec.Command(program, "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file)
	}
	serveOn(t, serve(), file).stop()
	noError(t, os.Rename(key, key+".away"))
	out, err := serve().CombinedOutput()
	if err == nil || !strings.Contains(string(out), "copy that file here, or set keeper.url") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(key); !os.IsNotExist(err) {
		t.Errorf("a key file was made: %v", err)
	}
	noError(t, os.Rename(key+".away", key))
	serveOn(t, serve(), file)
}

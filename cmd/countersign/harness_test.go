package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end tests drive real processes of a binary that was built with the
// failpoints in; nothing in them is replaced.

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // others may not write catalogues and policy directories
	code := m.Run()
	endCommonServer()
	for _, end := range slices.Backward(afterTests) {
		end()
	}
	os.Exit(code)
}

// afterTests end, last one first, what tests started for all tests.
var afterTests []func()

// binary builds the program with the failpoints in. It stays in bin/, beside the
// plugins that make build makes there, and is built again only if its sources
// changed.
func binary(t *testing.T) string {
	t.Helper()
	path, err := built()
	noError(t, err)
	return path
}

var built = sync.OnceValues(func() (string, error) { return build("failpoint", "-tags=failpoint") })

// build builds the program with these flags into a folder of bin/.
func build(name string, flags ...string) (string, error) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(bin, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if err := os.Symlink("../plugins", filepath.Join(folder, "plugins")); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	program := filepath.Join(folder, "countersign")
	return program, compile("../..", program, filepath.Join(bin, "plugins"), flags...)
}

// compile builds the program and the plugins of a source tree. The plugins' flags are
// those of the Makefile, so that plugins that it has built are current.
func compile(source, program, plugins string, flags ...string) error {
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	for _, command := range [][]string{
		append(append([]string{"go", "build", "-trimpath", "-ldflags", "-s -w"}, flags...), "-o", program, "./cmd/countersign"),
		{"env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", plugins + "/", "./plugins/formats/..."},
		{program, "plugin", "hash", "--source", "plugins/catalogue.json", "--dir", plugins},
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = source
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

// run runs a program to its end and returns its output; a failure ends the test.
func run(t *testing.T, stdin []byte, name string, args ...string) string {
	t.Helper()
	out, err := try(t, stdin, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, stdin []byte, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, for a minute at most.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("a minute has passed without %s", what)
		}
	}
}

// server is a running development server.
type server struct {
	t     *testing.T
	dir   string // the data folder
	cmd   *exec.Cmd
	url   string
	boot  bootstrapFile
	log   *os.File
	ended chan struct{}

	launched time.Time
	mongoURI string       // of the store, if it is not SQLite
	keyFile  string       // unless it is in the data folder
	client   *http.Client // if it is not httpClient
}

// start starts the program on a folder and waits until it is ready. What it
// prints goes to a file in the folder's parent.
func start(t *testing.T, program, dir string, env ...string) *server {
	t.Helper()
	s := launch(t, devCommandOf(program, dir), dir, env...)
	t.Cleanup(s.kill)
	s.awaitReady()
	return s
}

func devCommandOf(program, dir string) *exec.Cmd {
	file := filepath.Join(filepath.Dir(dir), "bootstrap.json")
	return exec.Command(program, "dev", "--data", dir, "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file, "--log-level", "debug")
}

// launch starts a server that outlives the test.
func launch(t *testing.T, cmd *exec.Cmd, dir string, env ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, cmd: cmd, ended: make(chan struct{})}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(dir), "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	noError(t, err)
	s.log = log
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.launched = time.Now()
	noError(t, s.cmd.Start())
	go func() {
		_ = s.cmd.Wait() // how it ended is read from ProcessState
		close(s.ended)
	}()
	return s
}

// awaitReady waits until the server has written its bootstrap file and is ready.
func (s *server) awaitReady() {
	s.t.Helper()
	file := filepath.Join(filepath.Dir(s.dir), "bootstrap.json")
	eventually(s.t, "a bootstrap file of this start", func() bool {
		s.failIfEnded()
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Before(s.launched) {
			return false
		}
		before, err := readBootstrap(file)
		if err != nil || before == nil {
			return false
		}
		s.boot, s.url = *before, before.URL
		return true
	})
	eventually(s.t, "a ready server", func() bool {
		s.failIfEnded()
		status, _ := s.call("", http.MethodGet, "/readyz", "")
		return status == http.StatusOK
	})
}

func (s *server) failIfEnded() {
	select {
	case <-s.ended:
		text, _ := os.ReadFile(s.log.Name())
		s.t.Fatalf("the server ended: %v\n%s", s.cmd.ProcessState, text)
	default:
	}
}

// kill ends the process as a power cut would.
func (s *server) kill() { s.end(syscall.SIGKILL) }

// stop asks the process to end and waits until it has.
func (s *server) stop() { s.end(syscall.SIGTERM) }

func (s *server) end(signal syscall.Signal) {
	select {
	case <-s.ended:
	default:
		_ = s.cmd.Process.Signal(signal) // it may have ended by itself meanwhile
		s.awaitEnd()
	}
	_ = s.log.Close()
}

// awaitEnd waits until the process has ended, for a minute at most.
func (s *server) awaitEnd() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(time.Minute):
		_ = s.cmd.Process.Kill()
		text, _ := os.ReadFile(s.log.Name())
		s.t.Fatalf("a minute has passed and the server has not ended:\n%s", text)
	}
}

var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 128}, Timeout: time.Minute}

// call sends a request with the key of that name (none if empty) and returns
// status and body; status 0 means that no whole answer came.
func (s *server) call(key, method, path, body string, header ...string) (int, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	noError(s.t, err)
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+s.key(key))
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := cmp.Or(s.client, httpClient).Do(request)
	if err != nil {
		return 0, nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, nil
	}
	return answer.StatusCode, text
}

// must calls and demands a status, then decodes the body into out unless nil.
func (s *server) must(want int, out any, key, method, path, body string) {
	s.t.Helper()
	status, text := s.call(key, method, path, body)
	if status != want {
		s.t.Fatalf("%s %s: %d, want %d: %s", method, path, status, want, text)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
}

// key is an API key of the bootstrap file; "system" is the one for the whole system.
func (s *server) key(name string) string {
	if name == "system" {
		return s.boot.SystemAPIKey
	}
	return s.boot.APIKeys[name]
}

func (s *server) project() string { return "/api/v1/projects/" + s.boot.ProjectID }

type minted struct {
	RequestID string    `json:"request_id"`
	Token     string    `json:"token"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
	Filename  string    `json:"filename"`
}

const testPassphrase = "correct horse battery"

// mint asks as the operator for a format of the n-th sample.
func (s *server) mint(n int, format string, extra ...string) minted {
	s.t.Helper()
	var m minted
	body := fmt.Sprintf(`{"format":%q,"passphrase":%q%s}`, format, testPassphrase, strings.Join(extra, ""))
	s.must(http.StatusCreated, &m, "operator", http.MethodPost, s.project()+"/certificates/"+s.boot.Certificates[n].ID+"/downloads", body)
	return m
}

// fetch redeems a token.
func (s *server) fetch(token string) (int, []byte) {
	return s.call("", http.MethodGet, "/api/v1/downloads/"+token, "")
}

// allow sets the project's policy.
func (s *server) allow(keyExport bool) {
	s.t.Helper()
	s.must(http.StatusOK, nil, "admin", http.MethodPut, s.project()+"/certificate-policy", fmt.Sprintf(
		`{"allow_key_export":%v,"approval":{"mode":"off","required_approvals":1,"ttl_seconds":86400,"claim_window_seconds":86400},
		"token_ttl_seconds":300,"min_passphrase_length":8,"allow_legacy_encryption":true}`, keyExport))
}

// status is the state of a request as its owner sees it.
func (s *server) status(requestID string) string {
	s.t.Helper()
	var r struct{ Status string }
	s.must(http.StatusOK, &r, "operator", http.MethodGet, s.project()+"/requests/"+requestID, "")
	return r.Status
}

// auditOK verifies the project's chain, compares the documents with it and with that
// of the system, and returns its length.
func (s *server) auditOK() int {
	s.t.Helper()
	s.agreed()
	return s.verified()
}

// verified has the server verify the project's chain, and returns its length.
func (s *server) verified() int {
	s.t.Helper()
	var v struct {
		OK      bool
		Entries int
	}
	s.must(http.StatusOK, &v, "admin", http.MethodGet, s.project()+"/audit-logs/verify", "")
	if !v.OK {
		s.t.Error("the audit chain is broken")
	}
	return v.Entries
}

// problem decodes the code and title of a problem document.
func problem(text []byte) (p struct{ Code, Title, Detail string }) {
	_ = json.Unmarshal(text, &p) // what is no problem document has no code
	return p
}

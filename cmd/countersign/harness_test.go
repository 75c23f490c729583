package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The end-to-end tests drive real processes of a binary that was built with the
// failpoints in; nothing in them is replaced.

var builds struct {
	sync.Mutex
	folder string
	made   map[string]string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if builds.folder != "" {
		_ = os.RemoveAll(builds.folder)
	}
	os.Exit(code)
}

// binary builds the program with these flags, once, its plugins beside it.
func binary(t *testing.T, flags ...string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	name := strings.Join(flags, "")
	if path := builds.made[name]; path != "" {
		return path
	}
	if builds.folder == "" {
		folder, err := os.MkdirTemp("", "countersign-e2e-")
		noError(t, err)
		builds.folder, builds.made = folder, map[string]string{}
	}
	folder := filepath.Join(builds.folder, fmt.Sprint(len(builds.made)))
	program := filepath.Join(folder, "countersign")
	run(t, nil, "go", append(append([]string{"build"}, flags...), "-o", program, ".")...)
	plugins := filepath.Join(folder, "plugins")
	run(t, nil, "env", "CGO_ENABLED=0", "go", "build", "-o", plugins+"/", "../../plugins/formats/...")
	run(t, nil, program, "plugin", "hash", "--source", "../../plugins/catalogue.json", "--dir", plugins)
	builds.made[name] = program
	return program
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
	dir   string
	cmd   *exec.Cmd
	url   string
	boot  bootstrapFile
	log   *os.File
	ended chan struct{}
}

// start starts the program on a folder and waits until it is ready. What it
// prints goes to a file in the folder's parent.
func start(t *testing.T, program, dir string, env ...string) *server {
	t.Helper()
	file := filepath.Join(filepath.Dir(dir), "bootstrap.json")
	return startBy(t, exec.Command(program, "dev", "--data", dir, "--listen", "127.0.0.1:0", "--bootstrap", file, "--log-level", "debug"), dir, env...)
}

// startBy starts a server by a command that has it use dir, and bootstrap.json in
// the folder's parent.
func startBy(t *testing.T, cmd *exec.Cmd, dir string, env ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, cmd: cmd, ended: make(chan struct{})}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(dir), "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	noError(t, err)
	file := filepath.Join(filepath.Dir(dir), "bootstrap.json")
	s.log = log
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	started := time.Now()
	noError(t, s.cmd.Start())
	go func() {
		_ = s.cmd.Wait() // how it ended is read from ProcessState
		close(s.ended)
	}()
	t.Cleanup(s.kill)
	eventually(t, "a bootstrap file of this start", func() bool {
		s.failIfEnded()
		info, err := os.Stat(file)
		if err != nil || info.ModTime().Before(started) {
			return false
		}
		before, err := readBootstrap(file)
		if err != nil || before == nil {
			return false
		}
		s.boot, s.url = *before, before.URL
		return true
	})
	eventually(t, "a ready server", func() bool {
		s.failIfEnded()
		status, _ := s.call("", http.MethodGet, "/readyz", "")
		return status == http.StatusOK
	})
	return s
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
		<-s.ended
	}
	_ = s.log.Close()
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
		request.Header.Set("Authorization", "Bearer "+s.boot.APIKeys[key])
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := httpClient.Do(request)
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

// auditOK verifies the project's chain and returns its length.
func (s *server) auditOK() int {
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

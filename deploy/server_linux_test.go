package deploy

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
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

// artifact is the path that `make test-ops` gives for what it made.
func artifact(t *testing.T, name string) string {
	t.Helper()
	path := os.Getenv("COUNTERSIGN_" + name)
	if path == "" {
		t.Skipf("COUNTERSIGN_%s is not set; run make test-ops, which makes it", name)
	}
	return path
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs a command to its end and returns what it printed; a failure ends the test.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd.Args, err, out)
	}
	return string(out)
}

// server is a server that was installed, and runs in a machine.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	url string

	mu    sync.Mutex
	log   bytes.Buffer
	ended chan error
}

// serve starts the machine's program and waits until it serves. Its log must be JSON.
func (m machine) serve(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, cmd: m.command(t), ended: make(chan error, 1)}
	read, write := io.Pipe()
	s.cmd.Stdout, s.cmd.Stderr = write, write
	noError(t, s.cmd.Start())
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // everything in the machine ends with its first process
		if t.Failed() {
			s.mu.Lock()
			t.Logf("the server's log:\n%s", s.log.String())
			s.mu.Unlock()
		}
	})
	serving := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(read); lines.Scan(); {
			s.mu.Lock()
			s.log.Write(append(lines.Bytes(), '\n'))
			s.mu.Unlock()
			var line struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
				serving <- line.URL
			}
		}
	}()
	go func() {
		err := s.cmd.Wait()
		_ = write.Close()
		s.ended <- err
	}()
	select {
	case s.url = <-serving:
	case err := <-s.ended:
		t.Fatalf("the server ended: %v", err)
	case <-time.After(2 * time.Minute):
		t.Fatal("two minutes have passed and the server does not serve")
	}
	return s
}

// stop ends the server as its supervisor does.
func (s *server) stop() {
	s.t.Helper()
	noError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	if err := <-s.ended; err != nil {
		s.t.Errorf("the server ended with %v", err)
	}
}

// ready waits until the probe answers 200.
func (s *server) ready(probe string) {
	s.t.Helper()
	deadline := time.After(time.Minute)
	for {
		answer, err := http.Get(s.url + probe)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-deadline:
			s.t.Fatalf("a minute has passed and %s does not answer 200: %v", probe, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// administrator calls a server with the keys of its bootstrap file.
type administrator struct {
	t       *testing.T
	program string
	env     []string
	system  string // API key for the whole system
}

func (s *server) administrator(program, bootstrap string) administrator {
	s.t.Helper()
	text, err := os.ReadFile(bootstrap)
	noError(s.t, err)
	var boot struct {
		ProjectID    string            `json:"project_id"`
		APIKeys      map[string]string `json:"api_keys"`
		SystemAPIKey string            `json:"system_api_key"`
	}
	noError(s.t, json.Unmarshal(text, &boot))
	return administrator{s.t, program, []string{
		"COUNTERSIGN_SERVER=" + s.url, "COUNTERSIGN_PROJECT=" + boot.ProjectID, "COUNTERSIGN_API_KEY=" + boot.APIKeys["admin"],
	}, boot.SystemAPIKey}
}

func (a administrator) countersign(args ...string) string {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), a.program, args...)
	cmd.Env = a.env
	return run(a.t, cmd)
}

// downloadsTheFirstFile imports a certificate, downloads it and compares it.
func (a administrator) downloadsTheFirstFile() {
	a.t.Helper()
	folder := a.t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	noError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "first.example.com"}, DNSNames: []string{"first.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	noError(a.t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	noError(a.t, err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	noError(a.t, os.WriteFile(filepath.Join(folder, "cert.pem"), certificate, 0o600))
	noError(a.t, os.WriteFile(filepath.Join(folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	a.countersign("cert", "import", "--name", "first", "--cert", filepath.Join(folder, "cert.pem"), "--key", filepath.Join(folder, "key.pem"))
	a.downloads("first", certificate)
}

func (a administrator) downloads(name string, want []byte) {
	a.t.Helper()
	out := filepath.Join(a.t.TempDir(), "downloaded.pem")
	a.countersign("download", "--certificate", name, "--format", "fullchain", "--out", out)
	got, err := os.ReadFile(out)
	noError(a.t, err)
	if want != nil && !bytes.Equal(bytes.TrimSpace(got), bytes.TrimSpace(want)) || len(got) == 0 {
		a.t.Errorf("downloaded %q, want %q", got, want)
	}
}

// confinement is what the plugins' sandboxes lack, by plugin. Every plugin must run.
func (a administrator) confinement() map[string][]string {
	a.t.Helper()
	a.env = append(a.env, "COUNTERSIGN_API_KEY="+a.system)
	var plugins struct {
		Items []struct {
			Name, State, Detail string
			Sandbox             struct{ Enforced, Missing []string }
		}
	}
	text := a.countersign("plugin", "list", "-o", "json")
	noError(a.t, json.Unmarshal([]byte(text), &plugins))
	missing := map[string][]string{}
	for _, p := range plugins.Items {
		if p.State != "running" || len(p.Sandbox.Enforced)+len(p.Sandbox.Missing) == 0 {
			a.t.Errorf("the plugin %s is %s: %s", p.Name, p.State, p.Detail)
		}
		if len(p.Sandbox.Missing) > 0 {
			missing[p.Name] = p.Sandbox.Missing
		}
	}
	if len(plugins.Items) < 5 {
		a.t.Errorf("the plugins are not listed: %s", text)
	}
	return missing
}

// isWhole fails the test unless every plugin is confined completely.
func (a administrator) isWhole() {
	a.t.Helper()
	for plugin, missing := range a.confinement() {
		a.t.Errorf("the plugin %s is not confined completely: %s", plugin, strings.Join(missing, "; "))
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// operators is the address of the server for operators, as the log has it.
func (s *server) operators() string {
	s.t.Helper()
	text, err := os.ReadFile(s.log.Name())
	noError(s.t, err)
	found := regexp.MustCompile(`operators=(http://\S+)`).FindSubmatch(text)
	if found == nil {
		s.t.Fatalf("no address for operators in the log:\n%s", text)
	}
	return string(found[1])
}

// A server goes on when the reader of its log goes away, in the middle of a line or
// not, and when its terminal does.
func TestServerOutlivesItsTerminal(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "bootstrap.json")
	reader, writer, err := os.Pipe()
	noError(t, err)
	cmd := exec.Command(binary(t), "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file, "--log-level", "debug")
	cmd.Stdout, cmd.Stderr = writer, writer
	s := &server{t: t, cmd: cmd, log: writer, ended: make(chan struct{})}
	noError(t, cmd.Start())
	go func() {
		_ = cmd.Wait() // how it ended is read from ProcessState
		close(s.ended)
	}()
	t.Cleanup(s.kill)
	address := regexp.MustCompile(`msg=serving url=(\S+)`)
	var log bytes.Buffer
	for part := make([]byte, 4096); address.FindSubmatch(log.Bytes()) == nil; {
		n, err := reader.Read(part)
		noError(t, err)
		log.Write(part[:n])
	}
	b, err := readBootstrap(file)
	noError(t, err)
	s.boot, s.url = *b, string(address.FindSubmatch(log.Bytes())[1])
	noError(t, reader.Close())
	noError(t, writer.Close()) // of this process
	for range 3 {
		if status, _ := s.call("admin", "GET", "/api/v1/me", ""); status != http.StatusOK {
			t.Fatalf("status %d after the log's reader went away: %v", status, cmd.ProcessState)
		}
	}
	noError(t, cmd.Process.Signal(syscall.SIGHUP))
	for range 3 {
		if status, _ := s.call("admin", "GET", "/api/v1/me", ""); status != http.StatusOK {
			t.Fatalf("status %d after SIGHUP: %v", status, cmd.ProcessState)
		}
	}
	noError(t, cmd.Process.Signal(syscall.SIGTERM))
	s.awaitEnd()
	if !cmd.ProcessState.Success() {
		t.Errorf("SIGTERM: %v", cmd.ProcessState)
	}
}

// Silent connections, as many as the process may open files, do not end it.
func TestSilentConnections(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "bootstrap.json")
	s := serveOn(t, exec.Command("sh", "-c", `ulimit -n 512 && exec "$@"`, "sh", binary(t), "serve", "--data", filepath.Join(base, "data"),
		"--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file), file)
	var silent []net.Conn
	for range 600 {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		noError(t, err)
		silent = append(silent, c)
	}
	for _, c := range silent {
		noError(t, c.Close())
	}
	eventually(t, "an answer after the silent connections", func() bool {
		s.failIfEnded()
		status, _ := s.call("admin", "GET", "/api/v1/me", "")
		return status == http.StatusOK
	})
}

// A second sample project runs beside one that has the address for operators, and
// says that it does without. A production server does not start.
func TestAddressForOperatorsIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	base := t.TempDir()
	cmd := devCommandOf(binary(t), filepath.Join(base, "data"))
	cmd.Args = append(cmd.Args, "--listen-admin", address)
	s := launch(t, cmd, filepath.Join(base, "data"))
	t.Cleanup(s.kill)
	s.awaitReady()
	log, err := os.ReadFile(s.log.Name())
	noError(t, err)
	if want := "Metrics are not served: " + address + " is taken"; !strings.Contains(string(log), want) {
		t.Errorf("the server does not say %q:\n%s", want, log)
	}
	out, err := exec.Command(binary(t), "serve", "--data", filepath.Join(base, "other"), "--listen", "127.0.0.1:0", "--listen-admin", address).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "address already in use") {
		t.Errorf("%v\n%s", err, out)
	}
}

// While the disk is full, what cannot be stored is refused as such, the server is
// not ready, and nothing that it has promised is lost; it serves again by itself.
func TestFullDisk(t *testing.T) {
	base := t.TempDir()
	file, disk := filepath.Join(base, "bootstrap.json"), filepath.Join(base, "disk")
	noError(t, os.Mkdir(disk, 0o700))
	// The disk is mounted in a namespace of the server, which needs no privilege.
	s := serveOn(t, exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `mount -t tmpfs -o size=96m none "$1" && shift && exec "$@"`, "sh", disk,
		binary(t), "dev", "--data", filepath.Join(disk, "data"), "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--bootstrap", file), file)
	made, err := samples(time.Now())
	noError(t, err)
	leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made[0].leaf.Raw})
	imports := func(name string) (int, []byte) {
		return s.call("admin", "POST", s.project()+"/certificates", fmt.Sprintf(`{"name":%q,"certificate_pem":%q}`, name, leaf))
	}
	status, text := imports("before")
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	var c bootstrapCertificate
	noError(t, json.Unmarshal(text, &c))
	changes := s.changesWhileFull(c.ID)
	filler := filepath.Join(fmt.Sprintf("/proc/%d/root", s.cmd.Process.Pid), disk, "filler")
	fill, err := os.Create(filler)
	noError(t, err)
	if _, err := io.Copy(fill, zeros{}); err == nil {
		t.Fatal("the disk has no end")
	}
	noError(t, fill.Close())
	for n := 0; ; n++ { // until the room that the database has already is used up
		status, text := imports(fmt.Sprintf("while full %d", n))
		if status == http.StatusCreated {
			continue
		}
		if p := problem(text); status != http.StatusServiceUnavailable || p.Code != "storage_full" {
			t.Fatalf("%d %s", status, text)
		}
		break
	}
	for name, change := range changes {
		if status, text := change.call(); status != http.StatusServiceUnavailable || problem(text).Code != change.code {
			t.Errorf("%s: %d %s, want %s", name, status, text, change.code)
		}
	}
	if status, text := s.call("", "GET", "/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d %s", status, text)
	}
	answer, err := http.Get(s.operators() + "/readyz")
	noError(t, err)
	text, err = io.ReadAll(answer.Body)
	noError(t, err)
	noError(t, answer.Body.Close())
	if !strings.Contains(string(text), "not ready: disk") {
		t.Errorf("the operators read %s", text)
	}
	noError(t, os.Remove(filler))
	eventually(t, "a ready server when there is room", func() bool {
		s.failIfEnded()
		status, _ := s.call("", "GET", "/readyz", "")
		return status == http.StatusOK
	})
	if status, text := imports("after"); status != http.StatusCreated {
		t.Fatalf("%d %s", status, text)
	}
	for name, change := range changes {
		eventually(t, name+" when there is room again", func() bool {
			status, text := change.call()
			if status != change.want && status != http.StatusServiceUnavailable {
				t.Fatalf("%s when there is room again: %d %s, want %d", name, status, text, change.want)
			}
			return status == change.want
		})
	}
	var list struct{ Items []struct{ Name string } }
	s.must(http.StatusOK, &list, "admin", "GET", s.project()+"/certificates?q=before", "")
	if len(list.Items) != 1 {
		t.Errorf("%v", list)
	}
	s.verified() // SQLite does not find the database in the server's namespace
}

// change is a call that stores something: its problem code while the disk is full, and
// its status when there is room.
type change struct {
	code string
	want int
	call func() (int, []byte)
}

// changesWhileFull prepares a call of each kind that stores something, by name. A
// token and a vote can be used once, so that neither may be used up when it is refused.
func (s *server) changesWhileFull(certificate string) map[string]change {
	s.t.Helper()
	viewer := s.person("viewer")
	const password = "a password of nobody else"
	downloads := s.project() + "/certificates/" + certificate + "/downloads"
	var token minted
	s.must(http.StatusCreated, &token, "admin", http.MethodPost, downloads, `{"format":"cert"}`)
	s.approvals(false, "all", 1, 3600, 3600)
	var w waiting
	s.must(http.StatusAccepted, &w, "admin", http.MethodPost, downloads, `{"format":"cert"}`)
	s.approvals(false, "off", 1, 3600, 3600)
	s.must(http.StatusOK, nil, "system", http.MethodPatch, "/api/v1/users/"+viewer, object("password", password))
	return map[string]change{
		"mint":   {"unavailable", http.StatusCreated, func() (int, []byte) { return s.call("admin", http.MethodPost, downloads, `{"format":"cert"}`) }},
		"redeem": {"audit_unavailable", http.StatusOK, func() (int, []byte) { return s.fetch(token.Token) }},
		"vote":   {"unavailable", http.StatusOK, func() (int, []byte) { return s.decide("approver", w, "approve") }},
		"policy change": {"storage_full", http.StatusOK, func() (int, []byte) {
			return s.call("admin", http.MethodPut, s.project()+"/certificate-policy", `{"allow_key_export":false,"approval":{"mode":"off","required_approvals":1,
				"ttl_seconds":3600,"claim_window_seconds":3600},"token_ttl_seconds":200,"min_passphrase_length":8,"allow_legacy_encryption":true}`)
		}},
		"member change": {"storage_full", http.StatusOK, func() (int, []byte) {
			return s.call("admin", http.MethodPut, s.project()+"/members/"+viewer, `{"role":"operator"}`)
		}},
		"login": {"storage_full", http.StatusOK, func() (int, []byte) {
			return s.call("", http.MethodPost, "/api/v1/session", object("username", "viewer", "password", password))
		}},
	}
}

// zeros is endless.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Temporal cannot be configured for a user whom the system does not know, unless variables
// name the user. The start then ends with that error.
func TestAStartWithoutTemporalSaysWhy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a program as another user")
	}
	const unknown = 61500
	dir := t.TempDir()
	noError(t, os.Chown(dir, unknown, unknown))
	noError(t, os.Chmod(filepath.Dir(dir), 0o711))
	program := filepath.Join(dir, "countersign")
	text, err := os.ReadFile(binary(t))
	noError(t, err)
	noError(t, os.WriteFile(program, text, 0o755))
	noError(t, os.CopyFS(filepath.Join(dir, "plugins"), os.DirFS(filepath.Join(filepath.Dir(binary(t)), "plugins"))))
	cmd := exec.Command(program, "serve", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--listen-admin=")
	cmd.Env, cmd.SysProcAttr = []string{}, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unknown, Gid: unknown}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "configure Temporal") || strings.Contains(string(out), "panic") {
		t.Errorf("%v\n%s", err, out)
	}
}

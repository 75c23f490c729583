package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// serve --check says all that is wrong at once, changes nothing, and ends with 2.
func TestCheckSaysAllThatIsWrong(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	defer taken.Close()
	dir := t.TempDir()
	newTestAuthority(t).issue(dir, "server")
	key, err := os.ReadFile(filepath.Join(dir, "server.key"))
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(dir, "open.key"), key, 0o600))
	noError(t, os.Chmod(filepath.Join(dir, "open.key"), 0o644))
	noError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	check := func(code int, settings string) string {
		t.Helper()
		file := filepath.Join(dir, "config.yaml")
		noError(t, os.WriteFile(file, []byte(strings.NewReplacer("DIR", dir, "TAKEN", taken.Addr().String()).Replace(settings)), 0o600))
		cmd := exec.Command(binary(t), "serve", "--check", "--config", file)
		out, _ := cmd.CombinedOutput() // the exit code is compared
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("exit code %d, want %d: %s", got, code, out)
		}
		return string(out)
	}
	settings := `
listen: TAKEN
listen_admin: nowhere.invalid:1
public_url: http://countersign.example.com
trusted_proxies: [a proxy]
data: DIR/file/data
plugins: DIR/nowhere.json
drain: -1s
tls: {cert_file: DIR/server.pem, key_file: DIR/open.key}
sandbox: {mode: strict}
policies: {dir: DIR/nowhere}
keeper: {url: "nosuch://canary-user:canary-password@host"}
anchor: {url: "http://example.com/anchor"}
retention: {archive: "http://example.com/archive"}
limits: {calls: 0}
mongodb: {uri: "mongodb://user:canary-password@127.0.0.1:1/x"}
temporal: {address: "127.0.0.1:1"}
log: {level: loud}
audit:
  required_within: 1s
  syslog: {address: siem.invalid}
  https: {url: "https://canary-user:canary-password@siem.example.com"}
  file: {path: DIR/none/audit.log, keep: 0}
traces: {otlp_endpoint: "https://canary-user:canary-password@collector.example.com/", sample: 2}
`
	out := check(exitUsage, settings)
	for _, want := range []string{
		"audit.required_within must be 0", "audit.syslog.address must be a host and a port", "audit.https.url: ", "audit.file.path: ", "audit.file.keep must be at least 1",
		"listen: ", "address already in use", "listen_admin: ", "must begin with https://", `"a proxy"`, "the data folder", "nowhere.json", "drain",
		"open.key can be read", "sandbox.mode", "policy", "nosuch", "anchor.url", "retention.archive", "limits.calls", "mongodb.uri: ", "Temporal at 127.0.0.1:1", "log.level", "traces.otlp_endpoint", "traces.sample",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "canary-password") {
		t.Errorf("it says a password:\n%s", out)
	}
	if out := check(exitUsage, "lisen: x"); !strings.Contains(out, "lisen") {
		t.Errorf("%s", out)
	}
	good := "listen: 127.0.0.1:0\nlisten_admin: 127.0.0.1:0\ndata: DIR/data\ntls: {cert_file: DIR/server.pem, key_file: DIR/server.key}\n"
	if out := check(0, good); !strings.Contains(out, "can start") {
		t.Errorf("%s", out)
	}
	if out := check(exitUsage, good+"mongodb: {password_file: DIR/server.key}\n"); !strings.Contains(out, "mongodb.password_file") {
		t.Errorf("%s", out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "data*")); err != nil || len(left) > 0 {
		t.Errorf("it has made %v, %v", left, err)
	}
}

// What a server needs of its data folder is there after its first start, too.
func TestCheckOfAnInstallation(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	data, file := filepath.Join(base, "data"), filepath.Join(base, "bootstrap.json")
	s := serveOn(t, exec.Command(binary(t), "serve", "--data", data, "--listen", "127.0.0.1:0", "--listen-admin=", "--bootstrap", file), file)
	s.stop()
	args := []string{"serve", "--check", "--data", data, "--listen", "127.0.0.1:0", "--listen-admin="}
	if out, err := try(t, nil, binary(t), args...); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	noError(t, os.Remove(filepath.Join(data, "keys", "local.key")))
	if out, err := try(t, nil, binary(t), args...); err == nil || !strings.Contains(out, "local.key") {
		t.Errorf("without its key file: %v: %s", err, out)
	}
}

package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// status shows the parts of a server that is ready, and ends with 1 when it is not, or with
// another code when there is none.
func TestStatusCommand(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	file := filepath.Join(base, "bootstrap.json")
	s := serveOn(t, exec.Command(binary(t), "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--bootstrap", file, "--drain", "1h"), file)
	status := func(code int, args ...string) string {
		t.Helper()
		cmd := exec.Command(binary(t), append([]string{"status"}, args...)...)
		out, _ := cmd.CombinedOutput() // the exit code is compared
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d, want %d: %s", args, got, code, out)
		}
		return string(out)
	}
	admin := "--admin=" + s.operators() + "/"
	for _, want := range []string{"PART ", "server  ", "check  ", "store ", "temporal ", "disk ", "plugin  ", "running", "policy rules  "} {
		if out := status(0, admin); !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	var answered, printed any
	answer, err := http.Get(s.operators() + "/readyz")
	noError(t, err)
	noError(t, json.NewDecoder(answer.Body).Decode(&answered))
	noError(t, answer.Body.Close())
	noError(t, json.Unmarshal([]byte(status(0, admin, "-o", "json")), &printed))
	if printed.(map[string]any)["status"] != answered.(map[string]any)["status"] || len(printed.(map[string]any)) != len(answered.(map[string]any)) {
		t.Errorf("printed %v\nanswered %v", printed, answered)
	}
	status(exitFailed, "--admin="+s.url) // not the address for operators
	status(exitUnreachable, "--admin=http://127.0.0.1:1")
	status(exitUsage, "--admin=ftp://127.0.0.1")
	status(exitUsage, "more")
	noError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	eventually(t, "a server that is not ready", func() bool {
		code, _ := s.call("", "GET", "/readyz", "")
		return code == http.StatusServiceUnavailable
	})
	if out := status(exitFailed, admin); !strings.Contains(out, "not ready: drain") || !strings.Contains(out, "failed") {
		t.Errorf("%s", out)
	}
	s.kill()
}

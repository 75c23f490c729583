package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An orderly shutdown leaves only the folder's databases and key: no process, no
// socket, no temporary file. After a kill the plugins end too, and the next start
// deletes the other files.
func TestNothingIsLeftAfterShutdown(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	temp := filepath.Join(base, "tmp")
	noError(t, os.Mkdir(temp, 0o700))
	program, dir := binary(t), filepath.Join(base, "data")
	s := start(t, program, dir, "TMPDIR="+temp)
	s.download(0, "fullchain")
	plugins := s.children("")
	if len(plugins) != 8 {
		t.Errorf("%d plugins run, want 8", len(plugins))
	}
	s.kill()
	gone(t, plugins)

	s = start(t, program, dir, "TMPDIR="+temp)
	plugins = s.children("")
	s.stop()
	if !s.cmd.ProcessState.Success() {
		t.Errorf("the server ended with %v", s.cmd.ProcessState)
	}
	gone(t, plugins)
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("temporary files are left: %q", left)
	}
	noError(t, filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode()&os.ModeSocket != 0 {
			t.Errorf("the socket %s is left", path)
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may read %s: %v", path, info.Mode())
		}
		return err
	}))
}

func gone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d gone", pid), func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(stat), ") Z ")
		})
	}
}

// One run of the whole under the race detector: many callers, many formats,
// revocation, refusals, and an orderly end.
func TestNoRaceEndToEnd(t *testing.T) {
	if !soak {
		t.Skip("it links the Temporal server for the race detector; COUNTERSIGN_SOAK=1 runs it")
	}
	program, err := build("race", "-race", "-tags=failpoint")
	noError(t, err)
	s := start(t, program, t.TempDir()+"/data", "GORACE=halt_on_error=1 exitcode=66")
	s.allow(true)
	formats := []string{"cert", "chain", "fullchain", "key", "pkcs12", "zip", "jks", "k8s-secret"}
	concurrently(t, 3*len(formats), func(i int) {
		format := formats[i/3]
		m := s.mint(0, format)
		if got := fetchers(s, 8, m.Token); got["200 "] != 1 || got["410 token_consumed"] != 7 {
			t.Errorf("%s: %v", format, got)
		}
		revoked := s.mint(1, format)
		s.must(http.StatusNoContent, nil, "operator", http.MethodDelete, s.project()+"/requests/"+revoked.RequestID+"/token", "")
		s.call("viewer", http.MethodGet, s.project()+"/certificates", "")
		s.call("viewer", http.MethodGet, s.project()+"/audit-logs", "")
	})
	s.auditOK()
	s.stop()
	text, err := os.ReadFile(s.log.Name())
	noError(t, err)
	if strings.Contains(string(text), "DATA RACE") || !s.cmd.ProcessState.Success() {
		t.Errorf("%v\n%s", s.cmd.ProcessState, text)
	}
}

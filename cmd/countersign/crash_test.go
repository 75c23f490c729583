package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestKillAtRestAndAfterMint(t *testing.T) {
	t.Parallel()
	program, dir := binary(t), t.TempDir()+"/data"
	s := startSmall(t, program, dir)
	project, keys := s.boot.ProjectID, s.boot.APIKeys
	s.kill() // at rest

	s = startSmall(t, program, dir)
	if s.boot.ProjectID != project || fmt.Sprint(s.boot.APIKeys) != fmt.Sprint(keys) {
		t.Error("a restart does not find the same project and keys")
	}
	s.allow(true)
	unused, used := s.mint(0, "pkcs12"), s.mint(0, "cert", `,"ttl_seconds":10`)
	if status, _ := s.fetch(used.Token); status != http.StatusOK {
		t.Fatalf("download: %d", status)
	}
	s.kill() // after mint

	s = startSmall(t, program, dir)
	if status, _ := s.fetch(used.Token); status != http.StatusGone {
		t.Errorf("a used token answers %d after the crash", status)
	}
	got := fetchers(s, 8, unused.Token)
	if got["200 "] != 1 || got["410 token_consumed"] != 7 {
		t.Errorf("an unused token after the crash: %v", got)
	}
	// Whether the kill came before the report of the used one or after it, its
	// workflow ends: by the report or by its timer.
	for _, m := range []minted{unused, used} {
		eventually(t, "the request to be consumed", func() bool { return s.status(m.RequestID) == "consumed" })
	}
	s.auditOK()
}

// After a kill between render and consumption, the token is still valid. After a kill
// between consumption and sending, the token is consumed and cannot be redeemed again:
// the workflow ends the request, and the audit log says that the download was
// interrupted.
func TestKillInsideARedemption(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		point       string
		ttl         string
		after       string
		unconfirmed int
	}{
		{"rendered", "60", "200 ", 0},
		{"consumed", "2", "410 token_consumed", 1},
	} {
		t.Run(c.point, func(t *testing.T) {
			t.Parallel()
			program, dir := binary(t), t.TempDir()+"/data"
			s := startSmall(t, program, dir, "COUNTERSIGN_FAILPOINT="+c.point)
			m := s.mint(0, "fullchain", `,"ttl_seconds":`+c.ttl)
			if status, body := s.fetch(m.Token); status != 0 {
				t.Fatalf("the killed server answered %d %s", status, body)
			}
			s.awaitEnd()
			s = startSmall(t, program, dir)
			if got := fetchers(s, 8, m.Token); got[c.after] < 1 || got["200 "] > 1 {
				t.Errorf("after the restart: %v", got)
			}
			eventually(t, "the request to be consumed", func() bool { return s.status(m.RequestID) == "consumed" })
			if n := s.downloads(m.RequestID, "cert.downloaded"); n != 1 {
				t.Errorf("%d audit entries of the consumption", n)
			}
			if n := s.downloads(m.RequestID, "download.unconfirmed"); n != c.unconfirmed {
				t.Errorf("%d audit entries say that nobody knows whether the file arrived", n)
			}
			s.auditOK()
		})
	}
}

// downloads counts a request's audit entries of one action.
func (s *server) downloads(requestID, action string) int {
	s.t.Helper()
	var list struct{ Items []struct{ Action string } }
	s.must(http.StatusOK, &list, "admin", http.MethodGet, s.project()+"/audit-logs?action="+action+"&request_id="+requestID, "")
	return len(list.Items)
}

func TestAKilledPluginCostsAtMostOneRender(t *testing.T) {
	s := project(t)
	for range 5 {
		m := s.mint(0, "fullchain")
		plugins := s.children("pem")
		if len(plugins) != 1 {
			t.Fatalf("%d processes of the plugin run", len(plugins))
		}
		noError(t, syscall.Kill(plugins[0], syscall.SIGKILL))
		status, body := s.fetch(m.Token)
		if status == http.StatusBadGateway && problem(body).Code == "renderer_failed" {
			status, body = s.fetch(m.Token) // the render in flight was lost, the token was not
		}
		if status != http.StatusOK {
			t.Fatalf("after a killed plugin: %d %s", status, body)
		}
	}
}

// children lists the server's plugin processes of that name.
func (s *server) children(name string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	noError(s.t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (comm) state ppid …
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		ours := fields[1] == strconv.Itoa(s.cmd.Process.Pid) && fields[0] != "Z"
		command, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // empty if it ended
		if ours && strings.HasPrefix(string(command), "countersign-plugin-"+name) {
			pids = append(pids, pid)
		}
	}
	return pids
}

package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Temporal's database is lost: the server refuses the empty one, and, told to accept it,
// serves what was promised before. Every live token works once, every pending approval
// can be decided, and every approved request can be claimed.
func TestALostTemporalIsRebuiltOnPurpose(t *testing.T) {
	t.Parallel()
	program, base := binary(t), t.TempDir()
	dir := filepath.Join(base, "data")
	s := startSmall(t, program, dir)
	s.approvals(true, "key_export", 1, 600, 600)
	live, pending, approved := s.mint(0, "fullchain"), s.waits("operator", "key"), s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", approved, "approve"))
	s.stop()
	for _, name := range []string{"temporal.db", "visibility.db"} {
		found, err := filepath.Glob(filepath.Join(dir, "db", name+"*"))
		noError(t, err)
		for _, path := range found {
			noError(t, os.Remove(path))
		}
	}

	for range 2 {
		refused := launch(t, devCommandOf(program, dir), dir)
		refused.awaitEnd()
		log, err := os.ReadFile(refused.log.Name())
		noError(t, err)
		if code := refused.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(log), "--accept-temporal") {
			t.Fatalf("an empty Temporal: exit code %d\n%s", code, log)
		}
	}
	accepting := devCommandOf(program, dir)
	accepting.Args = append(accepting.Args, "--accept-temporal")
	s = launch(t, accepting, dir)
	t.Cleanup(s.kill)
	s.awaitReady()
	eventually(t, "the requests to have workflows again", func() bool {
		log, err := os.ReadFile(s.log.Name())
		noError(t, err)
		return strings.Count(string(log), "a request had no workflow and got one") == 3
	})
	s.refused("approve", http.StatusOK, "")(s.decide("approver", pending, "approve"))
	for _, w := range []waiting{pending, approved} {
		var claimed minted
		s.must(http.StatusCreated, &claimed, "operator", http.MethodPost, s.project()+"/requests/"+w.RequestID+"/token", "{}")
		if got := fetchers(s, 4, claimed.Token); got["200 "] != 1 {
			t.Errorf("a claimed token: %v", got)
		}
	}
	if got := fetchers(s, 4, live.Token); got["200 "] != 1 {
		t.Errorf("a token of before: %v", got)
	}
	eventually(t, "the requests to end", func() bool {
		return s.status(live.RequestID) == "consumed" && s.status(pending.RequestID) == "consumed" && s.status(approved.RequestID) == "consumed"
	})
	s.auditOK()
	s.stop()
	s = startSmall(t, program, dir) // the new Temporal is this installation's now
	s.auditOK()
}

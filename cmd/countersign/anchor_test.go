package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// An operator puts an old database back: the server refuses it, accepts it once when
// told so, and nothing that was used since the backup can be used again.
func TestARestoredDatabaseIsAcceptedOnPurposeOnly(t *testing.T) {
	t.Parallel()
	program, base := binary(t), t.TempDir()
	dir := filepath.Join(base, "data")
	s := startSmall(t, program, dir)
	s.approvals(true, "key_export", 1, 600, 600)
	used, unused, approved := s.mint(0, "fullchain"), s.mint(0, "fullchain"), s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", approved, "approve"))
	s.stop()
	backup := filepath.Join(base, "backup")
	noError(t, os.CopyFS(backup, os.DirFS(filepath.Join(dir, "db"))))

	s = startSmall(t, program, dir)
	if status, body := s.fetch(used.Token); status != http.StatusOK {
		t.Fatalf("download: %d %s", status, body)
	}
	s.refused("claim", http.StatusCreated, "")(s.claims("operator", approved, ""))
	s.stop()
	anchor, err := os.ReadFile(filepath.Join(dir, "anchor.json"))
	noError(t, err)
	restore := func() {
		noError(t, os.RemoveAll(filepath.Join(dir, "db")))
		noError(t, os.CopyFS(filepath.Join(dir, "db"), os.DirFS(backup)))
	}
	restore()

	refused := launch(t, devCommandOf(program, dir), dir)
	refused.awaitEnd()
	log, err := os.ReadFile(refused.log.Name())
	noError(t, err)
	if code := refused.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(log), "the database is older than the anchor") || !strings.Contains(string(log), "--accept-restore") {
		t.Fatalf("a restored database: exit code %d\n%s", code, log)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "anchor.json")); err != nil || string(after) != string(anchor) {
		t.Fatalf("the anchor was replaced by a start that was refused: %v", err)
	}

	accepting := devCommandOf(program, dir)
	accepting.Args = append(accepting.Args, "--accept-restore")
	s = launch(t, accepting, dir)
	t.Cleanup(s.kill)
	s.awaitReady()
	for what, token := range map[string]string{"used since the backup": used.Token, "never used": unused.Token} {
		s.refused("a token "+what, http.StatusGone, string(engine.CodeTokenRevoked))(s.fetch(token))
	}
	s.refused("claim again", http.StatusConflict, string(engine.CodeNotPending))(s.claims("operator", approved, ""))
	var list struct {
		Items []struct{ Detail map[string]string }
	}
	s.must(http.StatusOK, &list, "admin", http.MethodGet, s.project()+"/audit-logs?action=restore.accepted", "")
	if len(list.Items) != 1 || list.Items[0].Detail["tokens_revoked"] != "2" {
		t.Errorf("the audit log says %v", list)
	}
	eventually(t, "the requests to end", func() bool {
		return s.status(used.RequestID) == "revoked" && s.status(unused.RequestID) == "revoked" && s.status(approved.RequestID) == "cancelled"
	})
	s.auditOK()
	s.kill()

	s = startSmall(t, program, dir) // the restore was accepted before
	m := s.mint(0, "fullchain")
	if status, body := s.fetch(m.Token); status != http.StatusOK {
		t.Errorf("download after the restore: %d %s", status, body)
	}
	s.auditOK()
}

// A server that is killed while it accepts a restore is not started without the flag, even
// if its database is not behind. The release before goes on with such a database.
func TestAnAcceptanceThatWasKilledIsRepeated(t *testing.T) {
	t.Parallel()
	old, program, dir := before(t), binary(t), filepath.Join(t.TempDir(), "data")
	s := startSmall(t, program, dir)
	s.approvals(true, "key_export", 1, 3600, 3600)
	waits := s.waits("operator", "key")
	s.stop()

	accepting := devCommandOf(program, dir)
	accepting.Args = append(accepting.Args, "--accept-restore")
	launch(t, accepting, dir, "COUNTERSIGN_FAILPOINT=transition-stored").awaitEnd()
	refused := launch(t, devCommandOf(program, dir), dir)
	refused.awaitEnd()
	log, err := os.ReadFile(refused.log.Name())
	noError(t, err)
	if !strings.Contains(string(log), "not all was ended") || strings.Contains(string(log), "the database is older than the anchor") {
		t.Fatalf("a start without the flag:\n%s", log)
	}

	s = startSmall(t, old, dir)
	s.verified()
	s.stop()

	accepting = devCommandOf(program, dir)
	accepting.Args = append(accepting.Args, "--accept-restore")
	s = launch(t, accepting, dir)
	t.Cleanup(s.kill)
	s.awaitReady()
	eventually(t, "the request to end", func() bool { return s.status(waits.RequestID) == "cancelled" })
	s.auditOK()
	s.stop()
	s = startSmall(t, program, dir)
	s.auditOK()
}

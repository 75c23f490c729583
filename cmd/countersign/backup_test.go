package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"filippo.io/age"

	"github.com/countersign-dev/countersign/engine"
)

// identityFile makes an age identity in a file, and returns its path and recipient.
func identityFile(t *testing.T) (path, recipient string) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	noError(t, err)
	path = filepath.Join(t.TempDir(), "identity.txt")
	noError(t, os.WriteFile(path, []byte(identity.String()+"\n"), 0o600))
	return path, identity.Recipient().String()
}

// refusesToRun runs a command that must fail with a text.
func refusesToRun(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary(t), args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %v, without %q:\n%s", args, err, want, out)
	}
}

// killedRun runs a command that is killed at a place.
func killedRun(t *testing.T, at string, args ...string) (killed bool, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Env = append(os.Environ(), "COUNTERSIGN_FAILPOINT="+at)
	err = cmd.Run()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled(), err
}

// copyOf copies a file to a new folder.
func copyOf(t *testing.T, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(from)
	noError(t, err)
	noError(t, os.MkdirAll(filepath.Dir(to), 0o700))
	noError(t, os.WriteFile(to, text, 0o600))
	return to
}

// isEmpty fails unless a data folder has no database and nothing unencrypted of a backup.
func isEmpty(t *testing.T, data string) {
	t.Helper()
	for _, name := range []string{"db/countersign.db", "restore.unfinished", "backup.unfinished"} {
		if _, err := os.Stat(filepath.Join(data, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s/%s is there: %v", data, name, err)
		}
	}
}

// isEmptyOfKeys fails if a key file is there.
func isEmptyOfKeys(t *testing.T, data string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(data, "keys", "*")); err != nil || len(left) > 0 {
		t.Errorf("%v is there, %v", left, err)
	}
}

// An installation is backed up while its callers work, its machine is lost, and another
// one gets it from the backup: nothing that was used can be used again, everything else is
// as it was, and the audit log says what happened.
func TestABackupIsRestoredOnAnotherMachine(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	data, file := filepath.Join(base, "data"), filepath.Join(base, "backup.age")
	identity, recipient := identityFile(t)
	s := startSmall(t, binary(t), data)
	requests := s.everyState().ended
	p := s.promises(2, 8)
	var callers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.ends(0)
				}
			}
		})
	}
	run(t, nil, binary(t), "backup", file, "--data", data, "--recipient", recipient)
	close(stop)
	callers.Wait()
	isEmptyOfCopies(t, data)
	refusesToRun(t, "exists", "backup", file, "--data", data, "--recipient", recipient)
	refusesToRun(t, "--recipient", "backup", file+"2", "--data", data)
	s.once("a token used after the backup", p.live[0].Token)
	after := s.mint(0, "fullchain")
	s.kill()

	key := copyOf(t, filepath.Join(data, "keys", "local.key"), filepath.Join(base, "another", "keys", "local.key"))
	another := filepath.Join(base, "another")
	copyOf(t, filepath.Join(data, "anchor.json"), filepath.Join(another, "anchor.json"))
	out := run(t, nil, binary(t), "backup", "verify", file, "--identity", identity, "--keeper-file", key)
	if !strings.Contains(out, "audit log whole") {
		t.Errorf("verify says %s", out)
	}
	out = run(t, nil, binary(t), "restore", file, "--identity", identity, "--data", another)
	if !strings.Contains(out, "tokens that could be redeemed were revoked") {
		t.Errorf("restore says %s", out)
	}
	refusesToRun(t, "exists: move the data folder", "restore", file, "--identity", identity, "--data", another)

	noError(t, os.RemoveAll(data))
	p.boot = s.boot
	s = serveRestored(t, p, another)
	p.endedBy(requests)
	s.stayEnded(requests)
	s.refused("a token of which the backup knows nothing", http.StatusNotFound, string(engine.CodeTokenUnknown))(s.fetch(after.Token))
	s.hasEntries("backup.started", 1)
	s.hasEntries("restore.accepted", 1)
	s.once("a token minted after the restore", s.mint(0, "fullchain").Token)
	anew := s.waits("operator", "key")
	s.refused("approve", http.StatusOK, "")(s.decide("approver", anew, "approve"))
	s.claimsAndFetches(anew)
	s.auditOK()
}

// endedBy adds how a restore ends all that was promised. The first live token was used since
// the backup.
func (p promised) endedBy(restore map[string]ended) {
	restore[p.used.RequestID] = ended{"consumed", p.used.Token, "token_consumed"}
	for _, m := range append(p.live, p.late) {
		restore[m.RequestID] = ended{"revoked", m.Token, "token_revoked"}
	}
	for _, w := range append(p.pending, p.later, p.claimed) {
		restore[w.RequestID] = ended{status: "cancelled"}
	}
}

// isEmptyOfCopies fails if an unencrypted copy is left.
func isEmptyOfCopies(t *testing.T, data string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(data, "*.unfinished")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// hasEntries counts the entries of an action in the audit log of the system.
func (s *server) hasEntries(action string, want int) {
	s.t.Helper()
	s.inStoreWithKey(func(store engine.Store, _ []byte) {
		found, _, err := store.AuditEntries(s.t.Context(), engine.AuditQuery{ProjectID: engine.SystemChain, Action: action, Page: engine.Page{Limit: 100}})
		noError(s.t, err)
		if len(found) != want {
			s.t.Errorf("%d entries of %s, want %d", len(found), action, want)
		}
	})
}

// serveRestored starts a production server on a data folder that was restored.
func serveRestored(t *testing.T, p promised, data string) *server {
	t.Helper()
	boot, err := json.Marshal(p.boot)
	noError(t, err)
	noError(t, os.WriteFile(filepath.Join(data, "..", "bootstrap.json"), boot, 0o600))
	return serveTarget(t, p, data, filepath.Join(data, "keys", "local.key"), "")
}

// A backup that cannot be restored leaves nothing behind, and says why.
func TestABackupThatCannotBeRestoredChangesNothing(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	data, file := filepath.Join(base, "data"), filepath.Join(base, "backup.age")
	identity, recipient := identityFile(t)
	s := startSmall(t, binary(t), data)
	s.once("a token", s.mint(0, "fullchain").Token)
	run(t, nil, binary(t), "backup", file, "--data", data, "--recipient", recipient)
	withKey := filepath.Join(base, "with-key.age")
	run(t, nil, binary(t), "backup", withKey, "--data", data, "--recipient", recipient, "--with-local-key")
	s.stop()
	text, err := os.ReadFile(file)
	noError(t, err)
	cut, other, empty := filepath.Join(base, "cut.age"), filepath.Join(base, "other.key"), filepath.Join(base, "empty")
	noError(t, os.WriteFile(cut, text[:len(text)-1], 0o600))
	noError(t, os.WriteFile(other, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600))
	key := filepath.Join(data, "keys", "local.key")
	stranger, _ := identityFile(t)
	for want, args := range map[string][]string{
		"corrupted or tampered":         {cut, "--identity", identity, "--keeper-file", key},
		"did not match any of":          {file, "--identity", stranger, "--keeper-file", key},
		"copy that file here":           {file, "--identity", identity},
		"has no local key file":         {file, "--identity", identity, "--key-from-backup"},
		"which --key-from-backup takes": {withKey, "--identity", identity},
		"nothing was restored":          {file, "--identity", identity, "--keeper-file", other},
		"no such file":                  {filepath.Join(base, "missing"), "--identity", identity},
		"read the identity":             {file, "--identity", filepath.Join(base, "missing")},
		"countersign migrate":           {file, "--identity", identity, "--mongodb-uri", "mongodb://127.0.0.1/x"},
		`"identity" not set`:            {file},
	} {
		refusesToRun(t, want, append([]string{"restore", "--data", empty}, args...)...)
		isEmpty(t, empty)
		isEmptyOfKeys(t, empty)
	}
	out := run(t, nil, binary(t), "backup", "verify", withKey, "--identity", identity, "--key-from-backup")
	if !strings.Contains(out, "with the local key file") {
		t.Errorf("verify says %s", out)
	}
	wal := copyOf(t, file, filepath.Join(empty, "db", "countersign.db-wal"))
	refusesToRun(t, "db-wal exists: move the data folder", "restore", file, "--identity", identity, "--keeper-file", key, "--data", empty)
	noError(t, os.Remove(wal))
	// A kill before the database is in its place changes nothing, and the next try works.
	if killed, err := killedRun(t, "backup-accepted", "restore", withKey, "--key-from-backup", "--identity", identity, "--data", empty); !killed {
		t.Fatalf("it was not killed: %v", err)
	}
	isEmptyOfKeys(t, empty)
	run(t, nil, binary(t), "restore", withKey, "--key-from-backup", "--identity", identity, "--data", empty)
	isEmptyOfCopies(t, empty)
	s = serveRestored(t, promised{boot: s.boot}, empty)
	s.once("a token of an installation whose key was in the backup", s.mint(0, "fullchain").Token)
	s.auditOK()
}

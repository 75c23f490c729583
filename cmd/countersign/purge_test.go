package main

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
)

// purge runs retention on the store of a server that has ended, as it will run when all
// that is there is old, and archives into a folder.
func (s *server) purge(folder string) {
	s.t.Helper()
	const day = 24 * time.Hour
	ages := engine.RetentionAges{Tokens: 30 * day, Requests: 30 * day, Events: 30 * day, Audit: 60 * day}
	noError(s.t, ages.Check())
	later := func() time.Time { return engine.SystemClock().Add(61 * day) }
	archive, err := anchor.OpenArchive(s.t.Context(), folder, "")
	noError(s.t, err)
	defer func() { noError(s.t, archive.Close()) }()
	s.inStoreWithKey(func(store engine.Store, key []byte) {
		purge := &engine.AuditPurge{Store: store, Key: key, Archive: archive, Clock: later, Log: slog.New(slog.DiscardHandler)}
		r := &engine.Retention{Store: store, Clock: later, Audit: purge}
		for more := true; more; {
			_, more, err = r.PurgeBatch(s.t.Context(), ages)
			noError(s.t, err)
		}
		if n, err := r.PurgeAudit(s.t.Context(), ages, func() {}); err != nil || n == 0 || purge.Failures() > 0 {
			s.t.Fatalf("%d entries are purged, %d failures, %v", n, purge.Failures(), err)
		}
	})
}

// archived are the archives of a chain in a folder.
func archived(t *testing.T, folder, chain string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*-"+chain+"-*.jsonl"))
	noError(t, err)
	if len(names) != 1 {
		t.Fatalf("the archives of %s are %v", chain, names)
	}
	return names
}

// A server starts on a database whose audit log was cut, says where it begins, and proves
// an archive. A file that was changed in any way is not proven.
func TestAnArchiveIsProven(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir, folder, program := filepath.Join(base, "data"), filepath.Join(base, "archive"), binary(t)
	noError(t, os.Mkdir(folder, 0o700))
	s := start(t, program, dir)
	s.fetch(s.mint(0, "fullchain").Token)
	boot := s.boot
	s.stop()
	s.purge(folder)
	s = start(t, program, dir)
	s.boot = boot
	verify := func(how ...string) (string, error) {
		cmd := exec.Command(program, append([]string{"audit", "verify"}, how...)...)
		cmd.Env = append(os.Environ(), "COUNTERSIGN_SERVER="+s.url, "COUNTERSIGN_API_KEY="+s.key("admin"), "COUNTERSIGN_PROJECT="+s.boot.ProjectID)
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	file := archived(t, folder, s.boot.ProjectID)[0]
	said, err := verify("--archive", file)
	if err != nil || !strings.Contains(said, "because retention deleted the entries before") || !strings.Contains(said, "as they were deleted") {
		t.Errorf("%v: %s", err, said)
	}
	text, err := os.ReadFile(file)
	noError(t, err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, changed := range map[string][]byte{
		"an entry is changed":   bytes.Replace(text, []byte(`"outcome":"success"`), []byte(`"outcome":"refused"`), 1),
		"a space is added":      append(bytes.Clone(text), ' '),
		"an entry is missing":   bytes.Join(append(append([][]byte{}, lines[:1]...), lines[2:]...), nil),
		"the first is missing":  bytes.Join(lines[1:], nil),
		"the last is missing":   bytes.Join(lines[:len(lines)-2], nil),
		"it is another chain's": readWhole(t, archived(t, folder, engine.SystemChain)[0]),
		"it is empty":           nil,
	} {
		path := filepath.Join(base, "changed.jsonl")
		noError(t, os.WriteFile(path, changed, 0o600))
		if said, err := verify("--archive", path); err == nil {
			t.Errorf("%s: %s", name, said)
		}
	}
	if said, err := verify("--anchor", "1:"+strings.Repeat("0", 64)); err == nil || !strings.Contains(said, "give a later anchor") {
		t.Errorf("an anchor in the deleted part: %v: %s", err, said)
	}
	s.fetch(s.mint(0, "fullchain").Token) // the server goes on
	s.auditOK()
}

func readWhole(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	noError(t, err)
	return text
}

package forward

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// numbered are entries of a chain, from one number to another.
func numbered(from, to int64) (found []engine.AuditEntry) {
	for seq := from; seq <= to; seq++ {
		found = append(found, engine.AuditEntry{Ref: fmt.Sprint(seq), ProjectID: "proj_a", Seq: seq, Time: noon, Action: "cert.downloaded", Outcome: engine.AuditSuccess})
	}
	return found
}

// store has a file receive entries, and then store its position.
func store(t *testing.T, f *File, from, to int64) {
	t.Helper()
	if err := f.Receive(t.Context(), numbered(from, to)); err != nil {
		t.Fatal(err)
	}
	if err := f.Positions.SetForwarded(t.Context(), "file", map[string]engine.AuditHead{"proj_a": {Seq: to}}); err != nil {
		t.Fatal(err)
	}
}

// has checks that the file, and those that were renamed, have the entries up to a number,
// once and in order.
func has(t *testing.T, path string, from, to int64) (renamed []string) {
	t.Helper()
	renamed, err := filepath.Glob(path + ".2*")
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, path := range append(renamed, path) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e engine.AuditEntry
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			got = append(got, e.Seq)
		}
	}
	var want []int64
	for seq := from; seq <= to; seq++ {
		want = append(want, seq)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the files have %v, wanted %v", got, want)
	}
	return renamed
}

// Whatever a process did last before it was killed, the next one goes on so that the files
// have each entry once.
func TestFileHasEachEntryOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit log")
	now := noon
	open := func() *File {
		return NewFile(path, 2000, 3, named(t, "json"), func() time.Time { now = now.Add(time.Second); return now })
	}
	f := open()
	store(t, f, 1, 3)
	if err := f.Receive(t.Context(), numbered(4, 6)); err != nil { // and it is killed before it stores that
		t.Fatal(err)
	}
	f = open()
	heads, err := f.Positions.Forwarded(t.Context(), "file")
	if err != nil || heads["proj_a"].Seq != 3 {
		t.Fatalf("the position is %v, %v", heads, err)
	}
	store(t, f, 4, 9)
	has(t, path, 1, 9)
	store(t, f, 10, 12) // into a new file
	if renamed := has(t, path, 1, 12); len(renamed) != 1 {
		t.Fatalf("renamed: %v", renamed)
	}
	store(t, f, 13, 19)
	if err := os.Rename(path, path+"."+now.Add(time.Minute).UTC().Format(renamedAt)); err != nil { // and it is killed before it stores that
		t.Fatal(err)
	}
	f = open()
	if err := f.Receive(t.Context(), numbered(20, 20)); err != nil { // and it is killed again
		t.Fatal(err)
	}
	f = open()
	store(t, f, 20, 21)
	if renamed := has(t, path, 1, 21); len(renamed) != 2 {
		t.Fatalf("renamed: %v", renamed)
	}
}

func TestFileKeepsTheNewestOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	beside := path + ".20200101"
	if err := os.WriteFile(beside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := noon
	f := NewFile(path, 1, 2, named(t, "json"), func() time.Time { now = now.Add(time.Second); return now })
	for seq := range int64(5) {
		store(t, f, seq+1, seq+1)
	}
	if err := os.Remove(beside); err != nil {
		t.Fatalf("a file that is not ours was removed: %v", err)
	}
	if renamed := has(t, path, 3, 5); len(renamed) != 2 {
		t.Errorf("renamed: %v", renamed)
	}
}

// What another program wrote, or what belongs to a position that somebody deleted, stays.
func TestFileOfSomethingElseIsRenamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	store(t, NewFile(path, 1000, 3, named(t, "json"), func() time.Time { return noon }), 1, 1)
	if text, err := os.ReadFile(path + "." + noon.Format(renamedAt)); err != nil || string(text) != "something else" {
		t.Errorf("what was there is %q, %v", text, err)
	}
	if err := os.Remove(path + "." + noon.Format(renamedAt)); err != nil {
		t.Fatal(err)
	}
	has(t, path, 1, 1)
}

func TestFileRefusesWhatIsNoFile(t *testing.T) {
	folder := t.TempDir()
	for name, path := range map[string]string{"a folder": folder, "a link": filepath.Join(folder, "link"), "a file in no folder": filepath.Join(folder, "none", "audit.log")} {
		_ = os.Symlink("/etc/passwd", filepath.Join(folder, "link"))
		if err := NewFile(path, 1, 1, named(t, "json"), engine.SystemClock).Receive(t.Context(), numbered(1, 1)); err == nil {
			t.Errorf("%s is written", name)
		}
	}
}

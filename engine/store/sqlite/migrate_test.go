package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func version(t *testing.T, s *Store) string {
	t.Helper()
	v, err := get[int](t.Context(), s.reading, "(SELECT user_version AS doc FROM pragma_user_version)")
	if err != nil {
		t.Fatal(err)
	}
	return string(rune('0' + v))
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	s := open(t, path)
	if err := exec(s.conn, "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the database has schema 99, this program knows schemas up to %d", len(migrations))) {
		t.Fatalf("opening a newer database gave %v", err)
	}
}

// A migration is applied once, and one that fails leaves nothing behind.
func TestMigrate(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	if got := version(t, s); got != strconv.Itoa(len(migrations)) {
		t.Fatalf("schema is %s", got)
	}
	broken := append(slices.Clone(migrations), "CREATE TABLE two (a); INSERT INTO two VALUES (1)", "CREATE TABLE three (a); CREATE TABLE two (a)")
	for range 2 {
		if err := migrate(ctx, s.conn, broken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("to schema %d", len(broken))) {
			t.Fatalf("a broken migration gave %v", err)
		}
	}
	if got := version(t, s); got != strconv.Itoa(len(broken)-1) {
		t.Fatalf("schema is %s after a broken last migration", got)
	}
	if _, err := get[int](ctx, s.reading, "(SELECT a AS doc FROM three)"); err == nil {
		t.Fatal("a broken migration left a table behind")
	}
	if n, err := get[int](ctx, s.reading, "(SELECT count(*) AS doc FROM two)"); err != nil || n != 1 {
		t.Fatalf("the second migration left %d rows, %v", n, err)
	}
}

// A full disk keeps no server from starting without the additions; a later start makes them.
func TestAdditionsOnAFullDisk(t *testing.T) {
	ctx := t.Context()
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	run := func(statement string) {
		t.Helper()
		if err := exec(s.conn, statement); err != nil {
			t.Fatal(err)
		}
	}
	run("DROP INDEX approvals_pending")
	run("DROP INDEX certificates_ends")
	run("DROP INDEX sessions_user")
	run("VACUUM")
	for _, c := range []struct{ limit, indexes int }{{1, 0}, {1 << 30, 3}} { // a limit below the size is the size
		run(fmt.Sprintf("PRAGMA max_page_count = %d", c.limit))
		if err := migrate(ctx, s.conn, migrations); err != nil {
			t.Errorf("with %d pages: %v", c.limit, err)
		}
		n, err := get[int](ctx, s.reading, "(SELECT count(*) AS doc FROM sqlite_schema WHERE name IN ('approvals_pending', 'certificates_ends', 'sessions_user'))")
		if err != nil || n != c.indexes {
			t.Errorf("with %d pages there are %d additions, %v", c.limit, n, err)
		}
	}
}

// A file that is not a database is refused and stays unchanged.
func TestAnotherFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o644); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{path, filepath.Dir(path)} {
		if s, err := Open(t.Context(), other); err == nil {
			t.Errorf("opened %s: %v", other, s.Close())
		}
	}
	after, err := os.Stat(path)
	if err != nil || after.Mode() != before.Mode() || after.Size() != before.Size() {
		t.Errorf("the file was %v and is %v, %v", before, after, err)
	}
}

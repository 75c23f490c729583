package sqlite

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// digests are those of a database's files that hold data.
func digests(t *testing.T, path string) (sums [2][32]byte) {
	t.Helper()
	for i, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		sums[i] = sha256.Sum256(text)
	}
	return sums
}

// A store that only reads finds what the log of a killed process has, and changes
// neither the database nor the log.
func TestOpenReadOnlyChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	if _, err := OpenReadOnly(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a missing database: %v", err)
	}
	writer := open(t, path)
	token := issue(t, writer, "prj")
	killed := filepath.Join(t.TempDir(), "countersign.db") // as a kill would leave it
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil || len(text) == 0 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		if err := os.WriteFile(killed+suffix, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, killed} {
		before := digests(t, path)
		s, err := OpenReadOnly(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := s.Token(t.Context(), token.Digest); err != nil || found.RequestID != token.RequestID {
			t.Errorf("%+v, %v", found, err)
		}
		if err := s.CreateUser(t.Context(), engine.User{ID: "user"}, newRecord("prj")); !errors.Is(err, errReadOnly) {
			t.Errorf("a write: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if digests(t, path) != before {
			t.Error("reading changed the files")
		}
	}
}

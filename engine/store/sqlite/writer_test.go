package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// counted counts the commits of a connection.
type counted struct {
	connection
	commits *int
}

func (c counted) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	if statement == "COMMIT" {
		*c.commits++
	}
	return c.connection.ExecContext(ctx, statement, args...)
}

// put is a job that writes a data key under an id and returns err.
func put(ctx context.Context, id string, err error) *job {
	return &job{ctx: ctx, done: make(chan struct{}), do: func(tx tx) error {
		_, failed := dataKeys.insert(tx, engine.SealedKey{KeeperID: id}, id)
		return errors.Join(failed, err)
	}}
}

// stored lists the ids of the data keys.
func stored(t *testing.T, s *Store) string {
	t.Helper()
	ids, err := scan(t.Context(), s.reading, func(rows *sql.Rows) (id string, err error) { return id, rows.Scan(&id) },
		"SELECT id FROM data_keys ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(ids, " ")
}

func TestBatchCommitsOnceAndFailsAlone(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	gone, leave := context.WithCancel(t.Context())
	leave()
	refusal := errors.New("refused")
	batch := []*job{put(t.Context(), "a", nil), put(t.Context(), "b", refusal), put(gone, "c", nil), put(t.Context(), "d", nil)}
	commits := 0
	commit(counted{s.conn, &commits}, batch)
	for i, want := range []error{nil, refusal, context.Canceled, nil} {
		if !errors.Is(batch[i].err, want) {
			t.Errorf("job %d: %v, want %v", i, batch[i].err, want)
		}
	}
	if got := stored(t, s); got != "a d" || commits != 1 {
		t.Fatalf("stored %q in %d commits", got, commits)
	}
}

// SQLite may end a transaction by itself. No job of that transaction may count as
// written, and the next transaction works.
func TestBatchWhoseTransactionEnds(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	full := errors.New("disk full")
	rollback := &job{ctx: t.Context(), do: func(tx tx) error { return errors.Join(full, exec(tx.conn, "ROLLBACK")) }}
	batch := []*job{put(t.Context(), "a", nil), rollback, put(t.Context(), "b", nil)}
	commit(s.conn, batch)
	for i, j := range batch {
		if j.err == nil {
			t.Errorf("job %d counts as written", i)
		}
	}
	if !errors.Is(rollback.err, full) {
		t.Errorf("the cause is lost: %v", rollback.err)
	}
	if got := stored(t, s); got != "" {
		t.Fatalf("stored %q", got)
	}
	next := []*job{put(t.Context(), "c", nil)}
	commit(s.conn, next)
	if next[0].err != nil || stored(t, s) != "c" {
		t.Fatalf("the next: %v, stored %q", next[0].err, stored(t, s))
	}
}

// The write of a caller who stops waiting for the writer is not done.
func TestCallerLeavesTheWriteQueue(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	busy, release := make(chan struct{}), make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		if _, err := update(t.Context(), s, func(tx) (none struct{}, err error) {
			close(busy)
			<-release
			return none, nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-busy
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := s.DataKey(ctx, "late", engine.SealedKey{})
		left <- err
	}()
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("leaving gave %v", err)
	}
	close(release)
	running.Wait()
	if got := stored(t, s); got != "" {
		t.Fatalf("stored %q", got)
	}
}

// On a full disk writes fail with an error. Acknowledged writes stay, and when there
// is space again the store continues.
func TestFullDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "countersign.db"))
	limit := func(pages string) {
		t.Helper()
		if _, err := update(t.Context(), s, func(tx tx) (none struct{}, err error) {
			_, err = tx.exec("PRAGMA max_page_count = " + pages)
			return none, err
		}); err != nil {
			t.Fatal(err)
		}
	}
	limit("150")
	var (
		mu           sync.Mutex
		acknowledged = map[string]bool{}
		callers      sync.WaitGroup
	)
	for range 16 {
		callers.Go(func() {
			for {
				rec := newRecord("prj")
				if err := s.Append(t.Context(), rec.Audit); err != nil {
					if !strings.Contains(err.Error(), "full") {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged[rec.Audit.Ref] = true
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	limit("1000000")
	rec := newRecord("prj")
	if err := s.Append(t.Context(), rec.Audit); err != nil {
		t.Fatal(err)
	}
	acknowledged[rec.Audit.Ref] = true
	checkRefs(t, s, acknowledged)
}

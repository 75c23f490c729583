package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// migrationBetween carries a shop's database to another one.
func migrationBetween(s *shop, target *node) (*engine.Migration, engine.Store, engine.Store) {
	from, to := s.Store.(engine.Store), target.Store.(engine.Store)
	return &engine.Migration{
		Source: from, Target: to, Key: auditKey, Ages: engine.RetentionAges{Tokens: engine.MinTokenAge},
		Clock: func() time.Time { return s.now }, Progress: func(string, int) {},
		MarkSource: marksNothing,
	}, from, to
}

func marksNothing(context.Context) error { return nil }

// importUnknown stores a user whom the audit log does not know.
func importUnknown(t *testing.T, s engine.Store) {
	t.Helper()
	text, err := json.Marshal(engine.User{ID: "user_unknown", Username: "unknown"})
	ok(t, err)
	ok(t, s.ImportDocuments(t.Context(), "users", []engine.StoredDocument{{ID: "user_unknown", JSON: text}}))
}

func countDocuments(t *testing.T, s engine.Store) (n int) {
	t.Helper()
	for _, kind := range engine.DocumentKinds {
		ok(t, s.ExportDocuments(t.Context(), kind, func(engine.StoredDocument) error { n++; return nil }))
	}
	return n
}

// A target has all documents of its source, and no Temporal namespace: the source keeps
// its own.
func TestAMigrationLeavesTheNamespaceOnTheTarget(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s := newShop(newNode(t, filepath.Join(dir, "from.db"), filepath.Join(dir, "anchor.json")))
	m, from, to := migrationBetween(s, newNode(t, filepath.Join(dir, "to.db"), filepath.Join(dir, "other.json")))
	source := engine.Installation{Store: from, Key: auditKey, Clock: m.Clock}
	ok(t, source.UseTemporal(ctx, engine.TemporalNamespace{}, engine.TemporalNamespace{ID: "ns_a", Name: "a"}, "first start"))
	documents := countDocuments(t, from)
	for range 2 {
		counts, err := m.Run(ctx)
		ok(t, err)
		total := 0
		for _, c := range counts {
			total += c.Target
		}
		if total != documents || countDocuments(t, from) != documents || countDocuments(t, to) != documents+1 {
			t.Errorf("%d documents are counted, of %d; the target has %d", total, documents, countDocuments(t, to))
		}
	}
	target := engine.Installation{Store: to, Key: auditKey, Clock: m.Clock}
	defer func() { // a namespace that the target gets by its migration does not prevent repeating that
		before, err := target.Temporal(ctx)
		ok(t, err)
		ok(t, target.UseTemporal(ctx, before, engine.TemporalNamespace{ID: "ns_b", Name: "b"}, engine.Migrated))
		_, err = m.Run(ctx)
		ok(t, err)
		if there, err := target.Temporal(ctx); err != nil || there.ID != "ns_b" || countDocuments(t, to) != documents+2 {
			t.Errorf("after repeating the target is bound to %+v, %v", there, err)
		}
	}()
	if there, err := target.Temporal(ctx); err != nil || there.ID != "" {
		t.Errorf("the target is bound to %+v, %v", there, err)
	}
	if here, err := source.Temporal(ctx); err != nil || here.ID != "ns_a" {
		t.Errorf("the source is bound to %+v, %v", here, err)
	}
}

// Before anything is written, a source that does not agree with its audit log, a store
// on which a server runs and a target with other documents are refused.
func TestAMigrationRefuses(t *testing.T) {
	for want, prepare := range map[string]func(m *engine.Migration, from, to engine.Store) error{
		"verify the source: it is not whole": func(_ *engine.Migration, from, _ engine.Store) error {
			importUnknown(t, from)
			return nil
		},
		"the target has users that the source does not have, or has otherwise: user_unknown.": func(_ *engine.Migration, _, to engine.Store) error {
			importUnknown(t, to)
			return nil
		},
		"a server on far runs on the source": func(m *engine.Migration, from, _ engine.Store) error {
			return from.PutNode(t.Context(), engine.Node{ID: "node_a", Host: "far", SeenAt: m.Clock()})
		},
		"a server on far runs on the target": func(m *engine.Migration, _, to engine.Store) error {
			return to.PutNode(t.Context(), engine.Node{ID: "node_a", Host: "far", SeenAt: m.Clock()})
		},
	} {
		t.Run(want, func(t *testing.T) {
			dir := t.TempDir()
			s := newShop(newNode(t, filepath.Join(dir, "from.db"), filepath.Join(dir, "anchor.json")))
			m, from, to := migrationBetween(s, newNode(t, filepath.Join(dir, "to.db"), filepath.Join(dir, "other.json")))
			ok(t, prepare(m, from, to))
			before := countDocuments(t, to)
			if _, err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if after := countDocuments(t, to); after != before {
				t.Errorf("the target had %d documents and has %d", before, after)
			}
		})
	}
}

// A server that starts on the source between the first look and the mark is found before
// the target has what a server needs to start on it.
func TestAMigrationFindsALateServer(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s := newShop(newNode(t, filepath.Join(dir, "from.db"), filepath.Join(dir, "anchor.json")))
	m, from, to := migrationBetween(s, newNode(t, filepath.Join(dir, "to.db"), filepath.Join(dir, "other.json")))
	_, err := from.DataKey(ctx, "codec", engine.SealedKey{KeeperID: "local"})
	ok(t, err)
	marked := 0
	m.MarkSource = func(ctx context.Context) error {
		if marked++; marked > 1 {
			return nil
		}
		return from.PutNode(ctx, engine.Node{ID: "node_a", Host: "far", SeenAt: m.Clock()})
	}
	if _, err := m.Run(ctx); err == nil || !strings.Contains(err.Error(), "a server on far runs on the source") {
		t.Errorf("%v", err)
	}
	if _, err := to.StoredDataKey(ctx, "codec"); !errors.Is(err, engine.CodeNotFound) {
		t.Errorf("the target has a key: %v", err)
	}
	ok(t, from.RemoveNode(ctx, "node_a"))
	_, err = m.Run(ctx)
	ok(t, err)
	if _, err := to.StoredDataKey(ctx, "codec"); err != nil || marked != 2 {
		t.Errorf("repeated: %v, marked %d times", err, marked)
	}
}

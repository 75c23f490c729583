package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

func TestARolledBackDatabaseIsFoundAndAcceptedOnce(t *testing.T) {
	ctx, place := t.Context(), filepath.Join(t.TempDir(), "anchor.json")
	open := func(entries int) *engine.Anchors {
		store, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "countersign.db"))
		ok(t, err)
		t.Cleanup(func() { ok(t, store.Close()) })
		ok(t, store.UseAuditKey(ctx, []byte("audit key")))
		for i := range entries {
			ok(t, store.Append(ctx, engine.AuditEntry{Ref: fmt.Sprint(i), ProjectID: engine.SystemChain, Time: time.Unix(1, 0)}))
		}
		target, err := anchor.Open(ctx, place, "")
		ok(t, err)
		return &engine.Anchors{Store: store, Target: target, Key: []byte("audit key"), Every: time.Hour, Clock: engine.SystemClock, Log: slog.New(slog.DiscardHandler)}
	}
	present, old := open(3), open(2)
	ok(t, present.Check(ctx, false))
	ok(t, present.Write(ctx))
	ok(t, present.Check(ctx, false))
	var behind *engine.BehindError
	if err := old.Check(ctx, false); !errors.As(err, &behind) || !strings.Contains(err.Error(), "--accept-restore") {
		t.Errorf("an old database gives %v", err)
	}
	if err := old.Write(context.Background()); err == nil {
		t.Error("a database that was rolled back is anchored")
	}
	ok(t, present.Check(ctx, false)) // the anchor was kept
	ok(t, old.Check(ctx, true))
	ok(t, old.Check(ctx, false))
	entries, err := old.Store.AuditAfter(ctx, engine.SystemChain, 2, 9)
	ok(t, err)
	if len(entries) != 1 || entries[0].Action != engine.ActionRestoreAccepted {
		t.Errorf("recorded %+v", entries)
	}
	other := open(0)
	other.Key = []byte("another key")
	if err := other.Check(ctx, true); err == nil || !strings.Contains(err.Error(), "another installation") {
		t.Errorf("another installation's anchor gives %v", err)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

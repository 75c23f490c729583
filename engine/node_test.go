package engine_test

import (
	"bytes"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

// Each node sees which other nodes run and what they have otherwise, and logs a
// difference once.
func TestNodesFindWhatDiffers(t *testing.T) {
	store, err := sqlite.Open(t.Context(), newDatabase(t))
	ok(t, err)
	defer func() { ok(t, store.Close()) }()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var log bytes.Buffer
	newNode := func(id string, ahead *time.Duration, settings map[string]string) *engine.Nodes {
		return &engine.Nodes{
			Store: store, ID: id, Host: "host " + id, Settings: func() map[string]string { return maps.Clone(settings) },
			Clock: func() time.Time { return now.Add(*ahead) }, Log: slog.New(slog.NewTextHandler(&log, nil)),
		}
	}
	var right, ahead time.Duration
	ofA, ofB := map[string]string{"rules": "1", "plugins": "1"}, map[string]string{"rules": "1", "plugins": "1"}
	a, b := newNode("a", &right, ofA), newNode("b", &ahead, ofB)
	expect := func(warnings int, others ...string) {
		t.Helper()
		ok(t, b.Compare(t.Context()))
		ok(t, a.Compare(t.Context()))
		got := []string{}
		for _, other := range a.Others() {
			got = append(got, other.ID+": "+strings.Join(other.Differs, ", "))
		}
		if !slices.Equal(got, others) {
			t.Errorf("a sees %q, want %q", got, others)
		}
		if n := strings.Count(log.String(), "other settings than this one"); n != warnings {
			t.Errorf("%d warnings, want %d: %s", n, warnings, log.String())
		}
		log.Reset()
	}
	expect(0, "b: ")
	ofB["rules"] = "2"
	delete(ofB, "plugins")
	expect(2, "b: plugins, rules") // one for each node
	expect(0, "b: plugins, rules")
	maps.Copy(ofB, ofA)
	ahead = time.Minute
	expect(1, "b: clock")
	ahead = 0

	ok(t, store.PutNode(t.Context(), engine.Node{ID: "c", SeenAt: now.Add(-2 * time.Minute)})) // it has ended
	ok(t, store.PutNode(t.Context(), engine.Node{ID: "d", SeenAt: now.Add(-25 * time.Hour)}))  // and this one long ago
	expect(0, "b: ")
	left, err := store.Nodes(t.Context())
	ok(t, err)
	if len(left) != 3 {
		t.Errorf("%+v", left)
	}
}

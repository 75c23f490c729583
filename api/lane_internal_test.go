package api

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// wide is how many calls of a lane may run.
func wide(t *testing.T, l *lane) (n int64) {
	t.Helper()
	for l.running.TryAcquire(1) {
		n++
	}
	l.running.Release(n)
	if n != l.width {
		t.Errorf("%d calls may run, and the lane says %d", n, l.width)
	}
	return n
}

// Slow mints make their lane narrower, down to a least width, and quick ones make it
// wider again, up to its setting. No other lane changes: how long a redemption takes is
// up to the plugin that renders its format.
func TestALaneOfMintsFindsItsWidth(t *testing.T) {
	lanes, err := newLanes(Options{Registry: prometheus.NewRegistry()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	calls := func(l *lane, n int, took time.Duration) int64 {
		t.Helper()
		for range n {
			if !l.running.TryAcquire(1) {
				t.Fatal("no call may run")
			}
			l.running.Release(l.freed(took, true))
		}
		return wide(t, l)
	}
	mints := lanes[minting]
	for _, step := range []struct {
		calls int
		took  time.Duration
		want  int64
	}{
		{100, slowAfter, 64}, {10, slowAfter + 1, 54}, {1000, slowAfter + 1, leastWidth},
		{leastWidth, slowAfter, leastWidth + 1}, {leastWidth, slowAfter, leastWidth + 1}, {1, slowAfter, leastWidth + 2}, {10_000, 0, 64},
	} {
		if got := calls(mints, step.calls, step.took); got != step.want {
			t.Errorf("after %d calls of %v the lane is %d wide, want %d", step.calls, step.took, got, step.want)
		}
	}
	for kind, want := range map[load]int64{redeeming: 64, ordinary: 256} {
		if got := calls(lanes[kind], 100, time.Minute); got != want {
			t.Errorf("lane %d is %d wide, want %d", kind, got, want)
		}
	}
}

// How many calls may run and how many wait is shown, and who is refused by a lane that became narrower is
// told to the operator as slow mints: a higher setting would not help.
func TestANarrowLaneSaysWhy(t *testing.T) {
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	lanes, err := newLanes(Options{Registry: registry, Mints: 6, Redemptions: 1, Clock: time.Now}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(kind load, want string, not ...string) {
		t.Helper()
		log.Reset()
		l := lanes[kind]
		l.inside.Add(1000)
		if _, err := l.enter(t.Context()); err == nil {
			t.Error("the call was admitted")
		}
		l.inside.Add(-1000)
		for _, text := range not {
			if strings.Contains(log.String(), text) {
				t.Errorf("the log has %q: %s", text, log.String())
			}
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	refuse(redeeming, "limits.redemptions", "slow")
	mints := lanes[minting]
	mints.freed(slowAfter+1, true)
	for range 100 { // what is refused at once says nothing of how quick mints are
		mints.freed(0, false)
	}
	refuse(minting, "take more than 5s", "see limits.mints")
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP countersign_calls_allowed Calls of each kind that may be under way at once: those of the settings, or fewer mints while they are slow.
# TYPE countersign_calls_allowed gauge
countersign_calls_allowed{kind="mint"} 5
countersign_calls_allowed{kind="other"} 256
countersign_calls_allowed{kind="redeem"} 1
`), "countersign_calls_allowed")
	if err != nil {
		t.Error(err)
	}
	lanes[redeeming].inside.Add(3)
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP countersign_calls_waiting Calls of each kind that wait for others of their kind to end.
# TYPE countersign_calls_waiting gauge
countersign_calls_waiting{kind="mint"} 0
countersign_calls_waiting{kind="other"} 0
countersign_calls_waiting{kind="redeem"} 2
`), "countersign_calls_waiting")
	if err != nil {
		t.Error(err)
	}
}

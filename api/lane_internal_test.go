package api

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
			l.running.Release(l.freed(took))
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

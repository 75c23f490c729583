package host

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// When a plugin is replaced, the old process finishes its running renders and then ends
// at once. The deadline is long, so that a process that waits for it fails the test.
func TestReloadsUnderLoad(t *testing.T) {
	busy := bad()
	busy.Limits.Concurrency = 64
	h, _ := open(t, Options{Deadline: 10 * time.Minute}, append(archive(t), busy)...)
	listed := len(h.Plugins())
	var renders sync.WaitGroup
	var done [2]atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	for i := range 64 + 8 { // the last 8 render archives, which need several plugins
		kind := min(i/64, 1)
		renders.Go(func() {
			for ctx.Err() == nil {
				if _, err := h.Render(t.Context(), job(t, rsaJob, []string{"slow", "zip"}[kind])); err != nil {
					t.Error(err)
					return
				}
				done[kind].Add(1)
			}
		})
	}
	rounds := 3
	if soak {
		rounds = 100
	}
	for range rounds {
		before := done[0].Load()
		for _, plugin := range []string{"bad", "pem", "zip"} {
			if err := h.Reload(plugin); err != nil {
				t.Error(err)
			}
		}
		eventually(t, "renders continue", func() bool { return done[0].Load() >= before+64 || t.Failed() })
	}
	stop()
	renders.Wait()
	if done[1].Load() == 0 {
		t.Error("no archive was rendered")
	}
	eventually(t, "the old processes end", func() bool { return len(children(t, os.Getpid())) == listed })
}

// A render that never ends delays the end of a replaced plugin only until the render's
// deadline.
func TestReplacedPluginEndsAfterTheDeadline(t *testing.T) {
	h, _ := open(t, Options{Deadline: 2 * time.Second}, bad())
	before := pid(t, h)
	hung := make(chan error)
	go func() { _, err := h.Render(t.Context(), job(t, rsaJob, "hang")); hung <- err }()
	eventually(t, "it hangs", func() bool { return queueOf(t, h, "bad").inFlight.Load() == 1 })
	if err := h.Reload("bad"); err != nil {
		t.Fatal(err)
	}
	if after := pid(t, h); after == before || gone(before) {
		t.Errorf("the process was %d and is %d, while a render is running", before, after)
	}
	if err := <-hung; err == nil {
		t.Error("it rendered")
	}
	eventually(t, "the old process ends", func() bool { return gone(before) })
	if left := children(t, os.Getpid()); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

package host

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// queueOf returns the queue of a plugin.
func queueOf(t *testing.T, h *Host, name string) *queue {
	t.Helper()
	for _, plugin := range h.view.Load().plugins {
		if plugin.Entry.Name == name {
			return plugin.queue
		}
	}
	t.Fatalf("there is no plugin %s", name)
	return nil
}

// occupy takes one slot of the plugin bad with a render that ends when free is
// called.
func occupy(t *testing.T, h *Host) (free func()) {
	t.Helper()
	before := queueOf(t, h, "bad").inFlight.Load()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { _, _ = h.Render(ctx, job(t, rsaJob, "patient")) })
	eventually(t, "a slot is taken", func() bool { return queueOf(t, h, "bad").inFlight.Load() == before+1 })
	free = func() { cancel(); ended.Wait() }
	t.Cleanup(free)
	return free
}

// wait starts a render that has to wait, and returns a channel with its error.
func wait(t *testing.T, h *Host, j engine.RenderJob) <-chan error {
	t.Helper()
	before := queueOf(t, h, "bad").waiting.Load()
	done := make(chan error, 1)
	go func() { _, err := h.Render(t.Context(), j); done <- err }()
	eventually(t, "a render waits", func() bool { return queueOf(t, h, "bad").waiting.Load() == before+1 })
	return done
}

// A plugin has no more renders at once than its limit. Those beyond it wait, and all
// are rendered in the end. The semaphore of the queue promises their order.
func TestRendersBeyondTheLimitWait(t *testing.T) {
	limited := bad()
	limited.Limits.Concurrency = 2
	h, _ := open(t, Options{Concurrency: 1}, append(builtIn(t, "pem"), limited)...)
	free := occupy(t, h)
	occupy(t, h) // this render keeps its slot
	var rendered atomic.Int64
	var waiting []<-chan error
	for range 8 {
		j := job(t, rsaJob, "pid")
		j.Recheck = func(context.Context) error { // it is called when the render has a slot
			if n := queueOf(t, h, "bad").inFlight.Load(); n > 2 {
				t.Errorf("%d renders at once", n)
			}
			rendered.Add(1)
			return nil
		}
		waiting = append(waiting, wait(t, h, j))
	}
	render(t, h, job(t, rsaJob, "cert")) // other plugins still render
	if n := rendered.Load(); n > 0 {
		t.Errorf("%d renders did not wait", n)
	}
	free()
	for _, done := range waiting {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := rendered.Load(); n != 8 {
		t.Errorf("%d renders were finished", n)
	}
}

// A format that includes others never holds two slots at the same time, so parallel
// renders cannot block each other for ever.
func TestArchivesShareSlots(t *testing.T) {
	h, _ := open(t, Options{Concurrency: 1}, archive(t)...)
	var renders sync.WaitGroup
	for range 16 {
		for _, format := range []string{"zip", "key", "pkcs12"} {
			renders.Go(func() {
				if _, err := h.Render(t.Context(), job(t, rsaJob, format)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	renders.Wait()
}

func TestWaitingRendersAreRechecked(t *testing.T) {
	h, _ := open(t, Options{Concurrency: 1}, bad())
	consumed := engine.Errorf(engine.CodeTokenConsumed, "used meanwhile")
	j := job(t, rsaJob, "exit") // a render would end the process
	j.Recheck = func(context.Context) error { return consumed }
	before := pid(t, h)
	free := occupy(t, h)
	waiting := []<-chan error{wait(t, h, j), wait(t, h, j), wait(t, h, job(t, rsaJob, "pid"))}
	free()
	for i, done := range waiting {
		if err := <-done; i < 2 && !errors.Is(err, consumed) || i == 2 && err != nil {
			t.Errorf("%d: got %v", i, err)
		}
	}
	if after := pid(t, h); after != before {
		t.Error("a render that the recheck refused was rendered")
	}
	j.Format = "pid"
	render(t, h, j) // a render that need not wait is not rechecked
}

func TestWaitEnds(t *testing.T) {
	refused := func(t *testing.T, err error, cause error) {
		t.Helper()
		refusal, ok := errors.AsType[*engine.Error](err)
		if !ok || refusal.Code != engine.CodeUnavailable || refusal.Fields["retry_after_seconds"] != retryAfter || !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	}
	t.Run("too long", func(t *testing.T) {
		h, _ := open(t, Options{Concurrency: 1, Queue: 50 * time.Millisecond}, bad())
		occupy(t, h)
		_, err := h.Render(t.Context(), job(t, rsaJob, "pid"))
		refused(t, err, errQueueTimeout)
		j := job(t, rsaJob, "pid")
		gone := engine.Errorf(engine.CodeTokenRevoked, "meanwhile")
		j.Recheck = func(context.Context) error { return gone }
		if _, err := h.Render(t.Context(), j); !errors.Is(err, gone) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		h, _ := open(t, Options{Concurrency: 1, Waiting: 1}, bad())
		free := occupy(t, h)
		first := wait(t, h, job(t, rsaJob, "pid"))
		_, err := h.Render(t.Context(), job(t, rsaJob, "pid"))
		refused(t, err, errQueueFull)
		free()
		if err := <-first; err != nil {
			t.Error(err)
		}
		pid(t, h)
	})
	t.Run("the caller leaves", func(t *testing.T) {
		h, _ := open(t, Options{Concurrency: 1}, bad())
		occupy(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := h.Render(ctx, job(t, rsaJob, "pid")); !errors.Is(err, engine.CodeRendererFailed) || !strings.Contains(err.Error(), "no longer waits") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the host closes", func(t *testing.T) {
		h, _ := open(t, Options{Concurrency: 1}, bad())
		occupy(t, h)
		waiting := wait(t, h, job(t, rsaJob, "pid"))
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; !errors.Is(err, engine.CodeRendererFailed) {
			t.Errorf("got %v", err)
		}
	})
}

// The deadline of a render does not include its time in the queue.
func TestDeadlineExcludesTheQueue(t *testing.T) {
	h, _ := open(t, Options{Concurrency: 1, Deadline: 2 * time.Second}, bad())
	occupy(t, h)
	slow := wait(t, h, job(t, rsaJob, "patient"))
	render(t, h, job(t, rsaJob, "pid")) // after two renders that use their whole deadline
	if err := <-slow; err == nil || !strings.Contains(err.Error(), "longer than 2s") {
		t.Errorf("got %v", err)
	}
}

func TestInvalidQueueOptionsAreRefused(t *testing.T) {
	path := folder(t, bad())
	for _, o := range []Options{{Concurrency: -1}, {Concurrency: catalogue.MaxConcurrency + 1}, {Queue: -1}, {Waiting: -1}} {
		o.Catalogue = path
		if h, err := Open(t.Context(), o); err == nil {
			t.Errorf("%+v was opened (%v)", o, h.Close())
		}
	}
	for _, n := range []int{-1, catalogue.MaxConcurrency + 1} {
		limited := bad()
		limited.Limits.Concurrency = n
		h, _ := open(t, Options{}, limited)
		if s := state(t, h, "bad"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, fmt.Sprintf("concurrency in the catalogue is %d", n)) {
			t.Errorf("got %+v", s)
		}
	}
}

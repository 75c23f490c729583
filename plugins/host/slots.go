package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// maxConcurrency is the most renders at once that a catalogue may allow one
// plugin.
const maxConcurrency = 256

// The ways not to get a slot.
var (
	errQueueFull = errors.New("too many wait for the plugin")
	errQueueLong = errors.New("the plugin had no slot in time")
)

// slots bound how many renders a plugin has at once. Who finds none free waits
// in the order of coming.
type slots struct {
	free    *semaphore.Weighted
	taken   atomic.Int64
	waiting atomic.Int64
	most    int64 // waiting
}

// newSlots makes at least one: a plugin whose limit is less is disabled for it.
func newSlots(concurrency, queue int) *slots {
	return &slots{free: semaphore.NewWeighted(int64(max(1, concurrency))), most: int64(queue)}
}

// take gets a slot within patience, to be given back by release, and tells
// whether it had to wait for that.
func (s *slots) take(ctx context.Context, patience time.Duration) (waited bool, err error) {
	if s.free.TryAcquire(1) {
		s.taken.Add(1)
		return false, nil
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > s.most {
		return false, errQueueFull
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errQueueLong)
	defer cancel()
	if s.free.Acquire(ctx, 1) != nil {
		return true, fmt.Errorf("wait for a slot: %w", context.Cause(ctx))
	}
	s.taken.Add(1)
	return true, nil
}

func (s *slots) release() {
	s.taken.Add(-1)
	s.free.Release(1)
}

package host

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// The reasons not to get a slot.
var (
	errQueueFull    = errors.New("too many renders wait for the plugin")
	errQueueTimeout = errors.New("the plugin had no free slot in time")
)

// queue bounds how many renders a plugin has at once, and how many wait. Those that
// wait get a slot in the order in which they came.
type queue struct {
	slots      *semaphore.Weighted
	maxWaiting int64

	// inFlight and waiting count renders. The metrics show them.
	inFlight, waiting atomic.Int64
}

// newQueue makes a queue with at least one slot. A plugin whose catalogue entry has
// an invalid limit is disabled anyway.
func newQueue(concurrency, maxWaiting int) *queue {
	return &queue{slots: semaphore.NewWeighted(int64(max(1, concurrency))), maxWaiting: int64(maxWaiting)}
}

// acquire takes a slot within the timeout, and reports whether the caller had to
// wait. Every slot must be given back with release.
func (q *queue) acquire(ctx context.Context, timeout time.Duration) (waited bool, err error) {
	if q.slots.TryAcquire(1) {
		q.inFlight.Add(1)
		return false, nil
	}
	if q.waiting.Add(1) > q.maxWaiting {
		q.waiting.Add(-1)
		return false, errQueueFull
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errQueueTimeout)
	defer cancel()
	err = q.slots.Acquire(ctx, 1)
	q.waiting.Add(-1)
	if err != nil {
		return true, fmt.Errorf("wait for a slot: %w", context.Cause(ctx))
	}
	q.inFlight.Add(1)
	return true, nil
}

func (q *queue) release() {
	q.inFlight.Add(-1)
	q.slots.Release(1)
}

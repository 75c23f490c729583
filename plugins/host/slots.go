package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	most, longest int // renders at once, and waiting

	mu    sync.Mutex
	queue []chan struct{} // of those who wait, each closed when it is their turn

	// What others may look at, changed under the lock.
	taken, waiting atomic.Int64
}

// newSlots makes at least one: a plugin whose limit is less is disabled for it.
func newSlots(concurrency, queue int) *slots {
	return &slots{most: max(1, concurrency), longest: queue}
}

// take gets a slot within patience, to be given back by release, and tells
// whether it had to wait for that.
func (s *slots) take(ctx context.Context, patience time.Duration) (waited bool, err error) {
	turn, err := s.enqueue()
	if turn == nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errQueueLong)
	defer cancel()
	select {
	case <-turn:
		return true, nil
	case <-ctx.Done():
		s.leave(turn)
		return true, fmt.Errorf("wait for a slot: %w", context.Cause(ctx))
	}
}

// enqueue takes a slot that is free, or else a place in the queue.
func (s *slots) enqueue() (turn chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.taken.Load() < int64(s.most):
		s.taken.Add(1)
		return nil, nil
	case len(s.queue) >= s.longest:
		return nil, errQueueFull
	}
	turn = make(chan struct{})
	s.queue = append(s.queue, turn)
	s.waiting.Add(1)
	return turn, nil
}

// leave gives up a place in the queue, or the slot that it came to meanwhile.
func (s *slots) leave(turn chan struct{}) {
	s.mu.Lock()
	at := slices.Index(s.queue, turn)
	if at >= 0 {
		s.queue = slices.Delete(s.queue, at, at+1)
		s.waiting.Add(-1)
	}
	s.mu.Unlock()
	if at < 0 {
		s.release()
	}
}

// release hands the slot to who waits longest.
func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.taken.Add(-1)
		return
	}
	close(s.queue[0])
	s.queue = slices.Delete(s.queue, 0, 1)
	s.waiting.Add(-1)
}

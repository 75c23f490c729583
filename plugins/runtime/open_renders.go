package runtime

import (
	"sync"
	"time"
)

// openRenders sums up how long renders of a process were open, each counted for
// itself. This is the CPU time that the process is entitled to.
type openRenders struct {
	mu    sync.Mutex
	count int
	total time.Duration // until the last change
	at    time.Time     // of the last change
}

// add changes the number of open renders.
func (o *openRenders) add(n int, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += time.Duration(o.count) * now.Sub(o.at)
	o.count, o.at = o.count+n, now
}

// time returns the sum until now.
func (o *openRenders) time(now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total + time.Duration(o.count)*now.Sub(o.at)
}

// monotonicNow is for measuring only. The domain's clock may be set in tests, and
// then says nothing about CPU time.
func monotonicNow() time.Time { return time.Now() } //nolint:forbidigo // only differences are used

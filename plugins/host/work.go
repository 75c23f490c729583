package host

import (
	"sync"
	"time"
)

// work is how long renders of a process were open, each counted for itself:
// the CPU time that it was asked for.
type work struct {
	mu    sync.Mutex
	open  int
	until time.Duration // by the last change
	at    time.Time     // of that
}

// change counts renders that begin, or by a negative number end.
func (w *work) change(by int, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until += time.Duration(w.open) * now.Sub(w.at)
	w.open, w.at = w.open+by, now
}

func (w *work) asked(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.until + time.Duration(w.open)*now.Sub(w.at)
}

// moment is for measuring: CPU time knows no calendar, whose clock may be set.
func moment() time.Time { return time.Now() } //nolint:forbidigo // nobody is told this time

package engine

import (
	"sync"
	"time"
)

// quota lets a number of events through each second and counts the others.
type quota struct {
	mu      sync.Mutex
	second  int64
	passed  int
	omitted int
}

// quotaPerSecond bounds the audit entries of the system chain that unauthenticated
// callers can cause.
const quotaPerSecond = 20

// allow reports whether one more event may pass, and how many were left out since
// the last one that passed.
func (q *quota) allow(now time.Time) (ok bool, omitted int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if second := now.Unix(); second != q.second {
		q.second, q.passed = second, 0
	}
	if q.passed++; q.passed > quotaPerSecond {
		q.omitted++
		return false, 0
	}
	omitted, q.omitted = q.omitted, 0
	return true, omitted
}

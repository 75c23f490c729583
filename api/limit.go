package api

import (
	"fmt"
	"math"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// limiter counts failures with a token bucket for each key: the network of a caller,
// or the account that they tried. It remembers the keys used last, in bounded number.
type limiter[K comparable] struct {
	perMinute int
	mu        sync.Mutex // makes "look, then count" one step
	buckets   *lru.LRU[K, *bucket]
}

type bucket struct {
	left    *rate.Limiter
	pending int // attempts under way
}

const maxBuckets = 10_000

func newLimiter[K comparable](perMinute int) (*limiter[K], error) {
	buckets, err := lru.NewLRU[K, *bucket](maxBuckets, nil)
	if err != nil {
		return nil, fmt.Errorf("make rate limiter: %w", err)
	}
	return &limiter[K]{perMinute: perMinute, buckets: buckets}, nil
}

// exhausted reports whether the key must wait before it may fail again, and for how
// many seconds, at least 1.
func (l *limiter[K]) exhausted(key K, now time.Time) (seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets.Peek(key)
	if !ok {
		return 0, false
	}
	return l.wait(b, now)
}

func (l *limiter[K]) wait(b *bucket, now time.Time) (seconds int, limited bool) {
	left := b.left.TokensAt(now) - float64(b.pending)
	if left >= 1 {
		return 0, false
	}
	return max(1, int(math.Ceil((1-left)*60/float64(l.perMinute)))), true
}

// begin starts an attempt whose result takes a while; done ends it. Attempts under
// way count as failures: otherwise many at once would pass before the first was
// counted.
func (l *limiter[K]) begin(key K, now time.Time) (done func(), seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key)
	if seconds, limited = l.wait(b, now); limited {
		return nil, seconds, true
	}
	b.pending++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		b.pending--
	}, 0, false
}

// count adds a failure.
func (l *limiter[K]) count(key K, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket(key).left.AllowN(now, 1)
}

func (l *limiter[K]) bucket(key K) *bucket {
	if b, ok := l.buckets.Get(key); ok {
		return b
	}
	b := &bucket{left: rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)}
	l.buckets.Add(key, b)
	return b
}

// rateLimited is the refusal that asks to wait.
func rateLimited(seconds int, detail string) error {
	return engine.Errorf(engine.CodeRateLimited, "%s", detail).With(wire.RetryAfter, seconds)
}

package api

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// limiter counts the failures of each caller's network with a token bucket: an
// IPv4 address, or an IPv6 /64, because one person usually has all of it. It
// remembers the networks used last, in bounded number.
type limiter struct {
	perMinute int
	mu        sync.Mutex // makes "look, then count" one step
	buckets   *lru.LRU[netip.Prefix, *bucket]
}

type bucket struct {
	left    *rate.Limiter
	pending int // attempts under way
}

const maxBuckets = 10_000

func newLimiter(perMinute int) (*limiter, error) {
	buckets, err := lru.NewLRU[netip.Prefix, *bucket](maxBuckets, nil)
	if err != nil {
		return nil, fmt.Errorf("make rate limiter: %w", err)
	}
	return &limiter{perMinute: perMinute, buckets: buckets}, nil
}

// exhausted reports whether the address must wait before it may fail again, and for
// how many seconds, at least 1.
func (l *limiter) exhausted(ip string, now time.Time) (seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.buckets.Peek(network(ip))
	if !ok {
		return 0, false
	}
	return l.wait(b, now)
}

func (l *limiter) wait(b *bucket, now time.Time) (seconds int, limited bool) {
	left := b.left.TokensAt(now) - float64(b.pending)
	if left >= 1 {
		return 0, false
	}
	return max(1, int(math.Ceil((1-left)*60/float64(l.perMinute)))), true
}

// begin starts an attempt whose result takes a while; done ends it. Attempts under
// way count as failures: otherwise many at once would pass before the first was
// counted.
func (l *limiter) begin(ip string, now time.Time) (done func(), seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(ip)
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
func (l *limiter) count(ip string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket(ip).left.AllowN(now, 1)
}

func (l *limiter) bucket(ip string) *bucket {
	from := network(ip)
	if b, ok := l.buckets.Get(from); ok {
		return b
	}
	b := &bucket{left: rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)}
	l.buckets.Add(from, b)
	return b
}

// network is what an address is counted under. Everything that is not an address
// shares one bucket.
func network(ip string) netip.Prefix {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if addr = addr.Unmap(); addr.Is4() {
		bits = 32
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// rateLimited is the refusal that asks to wait.
func rateLimited(seconds int, detail string) error {
	return engine.Errorf(engine.CodeRateLimited, "%s", detail).With(wire.RetryAfter, seconds)
}

package api

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter counts the failures of each caller's address: a token bucket per IPv4
// address or IPv6 /64, which one person commands whole. It remembers a bounded
// number of addresses, those last seen.
type limiter struct {
	perMinute int
	mu        sync.Mutex
	buckets   map[netip.Prefix]*list.Element
	recent    *list.List // of *bucket, the last seen in front
}

type bucket struct {
	from   netip.Prefix
	left   *rate.Limiter
	trying int // attempts under way
}

const maxBuckets = 10_000

func newLimiter(perMinute int) *limiter {
	return &limiter{perMinute: perMinute, buckets: map[netip.Prefix]*list.Element{}, recent: list.New()}
}

// exhausted tells whether the address may fail no more for now, and for how
// many seconds, at least 1.
func (l *limiter) exhausted(ip string, now time.Time) (seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.buckets[network(ip)]
	if !ok {
		return 0, false
	}
	return l.wait(at.Value.(*bucket), now)
}

func (l *limiter) wait(b *bucket, now time.Time) (seconds int, limited bool) {
	left := b.left.TokensAt(now) - float64(b.trying)
	if left >= 1 {
		return 0, false
	}
	return max(1, int(math.Ceil((1-left)*60/float64(l.perMinute)))), true
}

// try begins an attempt of which it takes a while to know whether it fails, and
// which has ended once done is called. All that are under way may fail: without
// their number, a crowd of them would pass before the first was counted.
func (l *limiter) try(ip string, now time.Time) (done func(), seconds int, limited bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(ip)
	if seconds, limited = l.wait(b, now); limited {
		return nil, seconds, true
	}
	b.trying++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		b.trying--
	}, 0, false
}

// count takes a failure into account.
func (l *limiter) count(ip string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket(ip).left.AllowN(now, 1)
}

// bucket is an address's, the last seen from now on.
func (l *limiter) bucket(ip string) *bucket {
	from := network(ip)
	at, ok := l.buckets[from]
	if !ok {
		at = l.recent.PushFront(&bucket{from: from, left: rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)})
		l.buckets[from] = at
	}
	l.recent.MoveToFront(at)
	if l.recent.Len() > maxBuckets {
		oldest := l.recent.Remove(l.recent.Back()).(*bucket)
		delete(l.buckets, oldest.from)
	}
	return at.Value.(*bucket)
}

// network is whom an address counts for. What is no address shares one bucket.
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

package api

import (
	"fmt"
	"testing"
	"time"
)

// The limiter drops the address whose last failure is the oldest.
func TestLimiterIsBounded(t *testing.T) {
	l, err := newLimiter[string](1)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	l.count("192.0.2.1", now)
	l.count("192.0.2.2", now)
	for i := range maxBuckets - 2 {
		l.count(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	l.count("192.0.2.1", now) // seen again
	l.count("198.51.100.1", now)
	if l.buckets.Len() != maxBuckets {
		t.Fatalf("%d buckets", l.buckets.Len())
	}
	if _, limited := l.exhausted("192.0.2.1", now); !limited {
		t.Error("the address seen again was forgotten")
	}
	if _, limited := l.exhausted("192.0.2.2", now); limited {
		t.Error("the oldest address was not forgotten")
	}
	if _, limited := l.exhausted("192.0.2.1", now.Add(time.Minute)); limited {
		t.Error("nothing was given back after a minute")
	}
}

package api

import (
	"fmt"
	"testing"
	"time"
)

// The limiter forgets the address it has not seen for longest.
func TestLimiterIsBounded(t *testing.T) {
	l, now := newLimiter(1), time.Unix(1_800_000_000, 0)
	l.count("192.0.2.1", now)
	l.count("192.0.2.2", now)
	for i := range maxBuckets - 2 {
		l.count(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), now)
	}
	l.count("192.0.2.1", now) // seen again
	l.count("198.51.100.1", now)
	if len(l.buckets) != maxBuckets || l.recent.Len() != maxBuckets {
		t.Fatalf("%d buckets, %d in order", len(l.buckets), l.recent.Len())
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

// Two spellings of one name are one name; equal names in different objects and
// equal texts in arrays are nothing twice.
func TestUniqueMembers(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"a":1,"b":[{"a":1},{"a":2}]}`:         true,
		`{"a":["b","b"],"b":"a","c":{"a":{}}}`:  true,
		`[[],{"":null},{"":1},"","",{}]`:        true,
		`"x"`:                                   true,
		`{"a":{"x":"a"},"b":["a",{"a":["a"]}]}`: true,
		`{"a":{"a":{}},"a":1}`:                  false,
		`{"\u0061":1,"a":2}`:                    false,
		`[[],{"":null,"":1}]`:                   false,
		`{"a":[[{"b":1,"c":[],"b":2}]]}`:        false,
		`{"a":[],"b":{},"a":null}`:              false,
	} {
		var v any
		if err := strictJSON.Unmarshal([]byte(body), &v); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

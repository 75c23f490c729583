package engine

import (
	"testing"
	"time"
)

// Requests that are denied side by side all count, although each was let in when the
// quota had one left.
func TestDenialsSideBySideAllCount(t *testing.T) {
	var d denials
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range deniedMints + 31 {
		d.count("person", now)
	}
	for range 32 {
		if !d.exhausted("person", now) {
			t.Fatalf("%s: another request is let in", now)
		}
		now = now.Add(deniedMintsInterval)
	}
	if d.exhausted("person", now) {
		t.Errorf("%s: no request is let in", now)
	}
}

package passwords

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// A sign-in does not wait for a free processor longer than the limit of all calls.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Passwords
		var err error
		for err == nil { // acquires every slot, and then waits until the limit
			_, err = p.acquire(t.Context())
		}
		if !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("with no free slot: %v", err)
		}
		start := time.Now()
		if _, err := p.Matches(t.Context(), "", "x"); !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("with no free slot: %v", err)
		}
		if waited := time.Since(start); waited != engine.AnswerWithin {
			t.Errorf("it waited %v", waited)
		}
	})
}

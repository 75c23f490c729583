package passwords

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// However many sign in, nobody waits for a turn longer than for any other answer.
func TestATurnThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Passwords
		var err error
		for err == nil { // takes every turn there is, and then waits
			_, err = p.turn(t.Context())
		}
		if !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("no turn was free: %v", err)
		}
		start := time.Now()
		if _, err := p.Matches(t.Context(), "", "x"); !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("no turn was free, and yet: %v", err)
		}
		if waited := time.Since(start); waited != engine.AnswerWithin {
			t.Errorf("it waited %v", waited)
		}
	})
}

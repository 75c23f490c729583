package runtime

import (
	"testing"
	"time"
)

func TestRestartDelays(t *testing.T) {
	want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond,
		1600 * time.Millisecond, 3200 * time.Millisecond, 5 * time.Second, 5 * time.Second}
	for streak, delay := range want {
		if got := restartDelay(streak); got != delay {
			t.Errorf("after %d: %s, want %s", streak, got, delay)
		}
	}
	if got := restartDelay(1 << 30); got != maxDelay {
		t.Errorf("got %s", got)
	}
}

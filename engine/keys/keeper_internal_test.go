package keys

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/secrets"
)

// A driver that ignores the context and hangs holds no caller longer than the caller wants,
// and takes no more than its calls. Once the service answers again, so does the keeper.
func TestADriverThatHangsHoldsNoCaller(t *testing.T) {
	healed := make(chan struct{})
	k := newKeeper(secrets.NewKeeper(service{code: gcerrors.Unknown, answer: func(context.Context) error { <-healed; return nil }}), "hashivault://key")
	s := &Sealer{keepers: []keeper{k}}
	if err := s.measure(nil); err != nil {
		t.Fatal(err)
	}
	k = s.keepers[0]
	dataKey := slices.Repeat([]byte{7}, 32)
	var calls sync.WaitGroup
	for i := range maxCalls + 5 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			call := k.wrap
			if i%2 == 1 {
				call = k.unwrap
			}
			if _, err := call(ctx, dataKey); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a call of a service that hangs gives %v", err)
			}
		})
	}
	calls.Wait()
	if n := len(k.running); n != maxCalls {
		t.Errorf("%d calls run, want %d", n, maxCalls)
	}
	close(healed)
	wrapped, err := k.wrap(t.Context(), dataKey)
	if err != nil || !slices.Equal(wrapped, slices.Repeat([]byte{7}, 32)) {
		t.Errorf("afterwards: %v, %v", wrapped, err)
	}
}

package workflows

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// reuses tells of consumed tokens that are tried again, off the callers' path.
// Hammering one costs a look into a map: this process tells of each token once,
// and the record sees to it that an installation does.
type reuses struct {
	log   *slog.Logger
	queue chan engine.Token
	ends  sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context //nolint:containedctx // it ends what start began

	mu   sync.Mutex
	seen map[string]bool
}

const (
	reuseQueue  = 1000
	reuseMemory = 10_000 // tokens; then it forgets them all, which costs a look at the record each
	reuseWithin = 30 * time.Second
)

func newReuses(log *slog.Logger) *reuses {
	r := &reuses{log: log, queue: make(chan engine.Token, reuseQueue), seen: map[string]bool{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// add neither blocks nor fails. What the queue does not take is told at the next
// try of the token.
func (r *reuses) add(t engine.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[t.Digest] {
		return
	}
	select {
	case r.queue <- t:
		if len(r.seen) >= reuseMemory {
			clear(r.seen)
		}
		r.seen[t.Digest] = true
	default:
	}
}

func (r *reuses) start(tell func(context.Context, engine.Token) error) {
	r.ends.Go(func() {
		for {
			select {
			case <-r.ctx.Done():
				return
			case t := <-r.queue:
				r.try(t, tell)
			}
		}
	})
}

// try tells of one token, or forgets that it was seen.
func (r *reuses) try(t engine.Token, tell func(context.Context, engine.Token) error) {
	ctx, cancel := context.WithTimeout(r.ctx, reuseWithin)
	defer cancel()
	if err := tell(ctx, t); err != nil {
		r.log.Warn("nobody could be told that a used token was tried again; its next try is told", "request_id", t.RequestID, "error", err)
		r.mu.Lock()
		delete(r.seen, t.Digest)
		r.mu.Unlock()
	}
}

func (r *reuses) close() {
	r.stop()
	r.ends.Wait()
}

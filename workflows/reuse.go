package workflows

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// reuseNotifier has people notified of consumed tokens that are tried again,
// without delaying the caller. However often a token is tried, this process
// notifies once per token, and the audit log makes sure that the installation does.
type reuseNotifier struct {
	log   *slog.Logger
	queue chan engine.Token
	ends  sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context //nolint:containedctx // it ends what start began

	mu   sync.Mutex
	seen map[string]bool // by token digest
}

const (
	reuseQueue   = 1000
	reuseSeen    = 10_000 // tokens; then all are dropped, and each costs one read of the audit log again
	reuseTimeout = 30 * time.Second
)

func newReuseNotifier(log *slog.Logger) *reuseNotifier {
	r := &reuseNotifier{log: log, queue: make(chan engine.Token, reuseQueue), seen: map[string]bool{}}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// add neither blocks nor fails. A token that finds the queue full is added when it
// is tried again.
func (r *reuseNotifier) add(t engine.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[t.Digest] {
		return
	}
	select {
	case r.queue <- t:
		if len(r.seen) >= reuseSeen {
			clear(r.seen)
		}
		r.seen[t.Digest] = true
	default:
	}
}

func (r *reuseNotifier) start(notify func(context.Context, engine.Token) error) {
	r.ends.Go(func() {
		for {
			select {
			case <-r.ctx.Done():
				return
			case t := <-r.queue:
				r.notify(t, notify)
			}
		}
	})
}

// notify notifies people of one token. After a failure the token counts as not
// seen.
func (r *reuseNotifier) notify(t engine.Token, notify func(context.Context, engine.Token) error) {
	ctx, cancel := context.WithTimeout(r.ctx, reuseTimeout)
	defer cancel()
	if err := notify(ctx, t); err != nil {
		r.log.Warn("people could not be notified that a used token was tried again; they are notified at its next attempt", "request_id", t.RequestID, "error", err)
		r.mu.Lock()
		delete(r.seen, t.Digest)
		r.mu.Unlock()
	}
}

func (r *reuseNotifier) close() {
	r.stop()
	r.ends.Wait()
}

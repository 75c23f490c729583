package workflows

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"
)

// Reports leave beside the requests they are about. The caps keep a burst of
// downloads from starving itself: closing a workflow costs Temporal more than a
// redemption costs everything else.
const (
	reportQueue   = 200_000
	reportSenders = 4
	reportsPerSec = 100
	reportTries   = 5
)

type report struct {
	requestID string
	note      settledNote
}

// reporter sends settled signals off the callers' path. One that is lost costs
// nothing but time: the workflow's own timer finds the settlement.
type reporter struct {
	temporal client.Client
	log      *slog.Logger
	queue    chan report
	limit    *rate.Limiter
	senders  sync.WaitGroup
	mu       sync.RWMutex
	closed   bool
	stop     context.CancelFunc
}

func newReporter(temporal client.Client, log *slog.Logger) *reporter {
	ctx, stop := context.WithCancel(context.Background())
	r := &reporter{
		temporal: temporal, log: log, queue: make(chan report, reportQueue),
		limit: rate.NewLimiter(reportsPerSec, reportsPerSec/2), stop: stop,
	}
	for range reportSenders {
		r.senders.Go(func() { r.run(ctx) })
	}
	return r
}

func (r *reporter) add(one report) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return
	}
	select {
	case r.queue <- one:
	default:
		r.log.Warn("too many token reports are waiting; a request ends by its timer", "request_id", one.requestID)
	}
}

func (r *reporter) run(ctx context.Context) {
	for one := range r.queue {
		if r.limit.Wait(ctx) != nil {
			return
		}
		if err := r.send(ctx, one); err != nil {
			r.log.Warn("a token report failed; the request ends by its timer", "request_id", one.requestID, "error", err)
		}
	}
}

// send signals the workflow. One that is gone has ended by itself.
func (r *reporter) send(ctx context.Context, one report) error {
	var err error
	for try := range reportTries {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err = r.temporal.SignalWorkflow(attempt, one.requestID, "", settledSignal, one.note)
		cancel()
		if _, gone := errors.AsType[*serviceerror.NotFound](err); err == nil || gone {
			return nil
		}
		select {
		case <-time.After(time.Second << try):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// close sends what is queued until ctx ends and returns how many were left.
func (r *reporter) close(ctx context.Context) int {
	r.mu.Lock()
	r.closed = true
	close(r.queue)
	r.mu.Unlock()
	r.limit.SetLimit(rate.Inf)
	done := make(chan struct{})
	go func() {
		r.senders.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r.stop()
	<-done
	return len(r.queue)
}

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
	stop     context.CancelFunc

	mu     sync.Mutex
	closed bool
	// waiting is what the queue holds, for a workflow that asks first.
	waiting map[string]settledNote
}

func newReporter(temporal client.Client, log *slog.Logger) *reporter {
	ctx, stop := context.WithCancel(context.Background())
	r := &reporter{
		temporal: temporal, log: log, queue: make(chan report, reportQueue),
		limit: rate.NewLimiter(reportsPerSec, reportsPerSec/2), stop: stop, waiting: map[string]settledNote{},
	}
	for range reportSenders {
		r.senders.Go(func() { r.run(ctx) })
	}
	return r
}

func (r *reporter) add(one report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	select {
	case r.queue <- one:
		r.waiting[one.requestID] = one.note
	default:
		r.log.Warn("too many token reports are waiting; a request ends by its timer", "request_id", one.requestID)
	}
}

// pending returns a report that has not arrived yet.
func (r *reporter) pending(requestID string) (settledNote, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	note, ok := r.waiting[requestID]
	return note, ok
}

func (r *reporter) done(requestID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, requestID)
}

func (r *reporter) run(ctx context.Context) {
	for one := range r.queue {
		if r.limit.Wait(ctx) != nil {
			return
		}
		if err := r.send(ctx, one); err != nil {
			r.log.Warn("a token report failed; the request ends by its timer", "request_id", one.requestID, "error", err)
			continue // what is known stays known, for the timer
		}
		r.done(one.requestID)
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

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

	"github.com/countersign-dev/countersign/engine"
)

// Reports leave beside the downloads they are about. Closing a workflow costs
// Temporal more than a download costs everything else, so while downloads come
// in, reports trickle: slowly, and faster the more of them wait. Once it is
// quiet they go as fast as the senders can.
const (
	reportQueue   = 200_000
	reportSenders = 4
	reportTries   = 5
	trickle       = 10 // a second, and a burst of so many
	backlogWithin = 5 * time.Minute
	quietAfter    = 250 * time.Millisecond
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
	last   time.Time // when the last report came in
	// waiting is what the queue holds, for a workflow that asks first.
	waiting map[string]settledNote
}

func newReporter(temporal client.Client, log *slog.Logger) *reporter {
	ctx, stop := context.WithCancel(context.Background())
	r := &reporter{
		temporal: temporal, log: log, queue: make(chan report, reportQueue),
		limit: rate.NewLimiter(trickle, trickle), stop: stop, waiting: map[string]settledNote{},
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
	r.last = engine.SystemClock()
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

// hold waits for the turn of a report: its place in the trickle, or quiet.
func (r *reporter) hold(ctx context.Context) error {
	for {
		r.mu.Lock()
		quiet := r.closed || engine.SystemClock().Sub(r.last) >= quietAfter
		r.mu.Unlock()
		r.limit.SetLimit(trickle + rate.Limit(float64(len(r.queue))/backlogWithin.Seconds()))
		if quiet || r.limit.Allow() {
			return ctx.Err()
		}
		select {
		case <-time.After(quietAfter / 10):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *reporter) run(ctx context.Context) {
	for one := range r.queue {
		if r.hold(ctx) != nil {
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

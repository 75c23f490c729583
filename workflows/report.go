package workflows

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/time/rate"

	"github.com/countersign-dev/countersign/engine"
)

// Reports are sent beside the downloads that they are about. Completing a workflow
// costs Temporal more than a download costs everything else together, so while
// downloads come in, reports are sent slowly, and faster the more of them wait.
// After a quiet moment they are sent as fast as the senders can.
const (
	reportQueue     = 200_000
	reportSenders   = 4
	reportAttempts  = 5
	reportsASecond  = 10              // while downloads come in; also the burst
	backlogSentIn   = 5 * time.Minute // where one process has all workers
	quietAfter      = 250 * time.Millisecond
	attemptTimeout  = 5 * time.Second
	firstRetryAfter = time.Second
)

// reporter sends settlement reports as signals, without delaying the caller. A lost
// report costs nothing but time: the workflow reads the settlement when the token's
// life is over.
type reporter struct {
	temporal client.Client
	// resume gives a request a workflow, or returns errEnded.
	resume  func(ctx context.Context, projectID, requestID string) error
	log     *slog.Logger
	queue   chan engine.SettlementReport
	limit   *rate.Limiter
	senders sync.WaitGroup
	stop    context.CancelFunc

	mu     sync.Mutex
	closed bool
	last   time.Time     // when the last report was added
	within time.Duration // in which a backlog is sent
	// undelivered are the reports of the queue by request, for a workflow that
	// asks before its signal arrives.
	undelivered map[string]engine.SettlementReport
}

func newReporter(temporal client.Client, resume func(ctx context.Context, projectID, requestID string) error, log *slog.Logger) *reporter {
	ctx, stop := context.WithCancel(context.Background())
	r := &reporter{
		temporal: temporal, resume: resume, log: log, queue: make(chan engine.SettlementReport, reportQueue),
		limit: rate.NewLimiter(reportsASecond, reportsASecond), stop: stop, undelivered: map[string]engine.SettlementReport{}, within: backlogSentIn,
	}
	for range reportSenders {
		r.senders.Go(func() { r.run(ctx) })
	}
	return r
}

func (r *reporter) add(report engine.SettlementReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.last = engine.SystemClock()
	if _, waits := r.undelivered[report.RequestID]; waits && report.TokenDigest == "" {
		return // the one that waits has the workflow look as well
	}
	r.enqueue(report)
}

// addAgain adds a report that could not be sent.
func (r *reporter) addAgain(report engine.SettlementReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.enqueue(report)
	}
}

// enqueue is called with the lock held.
func (r *reporter) enqueue(report engine.SettlementReport) {
	select {
	case r.queue <- report:
		r.undelivered[report.RequestID] = report
	default:
		r.log.Warn("too many settlement reports wait; the request ends when its token's life is over", "request_id", report.RequestID)
	}
}

// pending returns a report that is not delivered yet.
func (r *reporter) pending(requestID string) (engine.SettlementReport, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	report, ok := r.undelivered[requestID]
	return report, ok
}

func (r *reporter) forget(requestID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.undelivered, requestID)
}

// delivered forgets a report, unless another one of the request has come meanwhile.
func (r *reporter) delivered(report engine.SettlementReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.undelivered[report.RequestID] == report {
		delete(r.undelivered, report.RequestID)
	}
}

// awaitTurn waits until the next report may be sent.
func (r *reporter) awaitTurn(ctx context.Context) error {
	for {
		r.mu.Lock()
		quiet, within := r.closed || engine.SystemClock().Sub(r.last) >= quietAfter, r.within
		r.mu.Unlock()
		r.limit.SetLimit(reportsASecond + rate.Limit(float64(len(r.queue))/within.Seconds()))
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
	for report := range r.queue {
		if r.awaitTurn(ctx) != nil {
			return
		}
		if err := r.send(ctx, report); err != nil {
			r.log.Warn("a settlement report could not be sent; it is sent again later", "request_id", report.RequestID, "error", err)
			r.addAgain(report)
			continue
		}
		r.delivered(report)
	}
}

// send signals the workflow. A workflow that is not found has ended, or gets a successor
// that must know of the report: without it, the file would count as interrupted.
func (r *reporter) send(ctx context.Context, report engine.SettlementReport) error {
	var err error
	for attempt := range reportAttempts {
		err = r.signal(ctx, report)
		if missing(err) {
			if err = r.resume(ctx, report.ProjectID, report.RequestID); err == nil {
				err = r.signal(ctx, report)
			}
		}
		if err == nil || errors.Is(err, errEnded) {
			return nil
		}
		select {
		case <-time.After(firstRetryAfter << attempt):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (r *reporter) signal(ctx context.Context, report engine.SettlementReport) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return r.temporal.SignalWorkflow(addressed(ctx, report.RequestID), report.RequestID, "", settledSignal, report)
}

// close sends what is queued until ctx ends, and returns how many reports were not
// sent.
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

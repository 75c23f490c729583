package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// download is what a workflow knows of its request. The store is authoritative:
// each transition begins from what is stored, so that one whose answer was lost
// in a crash is recognised when it runs again, and returns the request as stored.
type download struct {
	request       engine.Request
	due           time.Time               // when time alone changes the request
	report        engine.SettlementReport // a request has at most one token that is reported
	reported      bool                    // a report has come that no transition has seen yet
	waited        bool                    // for the report of a token whose life is over
	commands      []*command              // that wait to be carried out
	reminded      bool                    // of the approval that the request waits for
	announced     bool
	announcements workflow.WaitGroup
	err           error // the first one; no step does anything after it
}

func newDownload(ctx workflow.Context) *download {
	d := &download{announcements: workflow.NewWaitGroup(ctx)}
	d.fail(d.acceptCommands(ctx))
	workflow.Go(ctx, d.receiveReports)
	return d
}

// receiveReports keeps the report that the request's token has ended. One of no token
// asks to look at the request.
func (d *download) receiveReports(ctx workflow.Context) {
	var report engine.SettlementReport
	for signals := workflow.GetSignalChannel(ctx, settledSignal); signals.Receive(ctx, &report); report = (engine.SettlementReport{}) {
		if d.reported = true; report.TokenDigest != "" {
			d.report = report
		}
	}
}

func (d *download) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// open reports whether the request has not ended yet.
func (d *download) open() bool { return d.err == nil && !d.request.Status.Ended() }

// in reports whether the request is in a state.
func (d *download) in(state engine.Status) bool { return d.err == nil && d.request.Status == state }

// awaitDue waits until something is due, and then returns true: the request's time
// is up, or a token is reported to have ended. The report may be of a token that
// this workflow does not know of, if a crash hid the claim; the next transition
// reads it from the store. A command that comes before is carried out, unless it is
// a claim, which is left to issueToken.
func (d *download) awaitDue(ctx workflow.Context) bool {
	_, err := workflow.AwaitWithTimeout(ctx, d.due.Sub(workflow.Now(ctx)), func() bool { return len(d.commands) > 0 || d.reported })
	d.fail(err)
	if d.err == nil && len(d.commands) == 0 {
		return true
	}
	if !d.claimed() {
		d.execute(ctx)
	}
	return false
}

// transition takes the request to its next state by a local activity, and
// continues from the result. An error is a refusal by a rule of the engine, or the
// workflow's cancellation: everything else is tried again.
func (d *download) transition(ctx workflow.Context, name string, input any) error {
	if d.err != nil {
		return d.err
	}
	var result engine.TransitionResult
	err := workflow.ExecuteLocalActivity(untilSuccess(ctx), name, input).Get(ctx, &result)
	if errors.Is(err, errForeign) {
		panic(err) // the history was changed: the workflow must not continue from it
	}
	if err != nil {
		return err
	}
	if result.Request.TokenDigest != d.request.TokenDigest {
		d.waited = false
	}
	d.request, d.due = result.Request, result.Request.Deadline()
	if result.Wait > 0 {
		d.due = workflow.Now(ctx).Add(result.Wait)
	}
	if result.Announce && !d.announced {
		d.announced = true
		d.announceApproval(ctx)
	}
	return nil
}

// forever is longer than any outage. If the limit were left out, the limit of one
// attempt would take its place, and a store that is down for so long would end
// requests.
const forever = 10 * 365 * 24 * time.Hour

// untilSuccess are the options of every local activity: short attempts, repeated
// until one succeeds or a rule of the engine refuses. A decision that comes too
// late for its caller cancels the request.
func untilSuccess(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: forever,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second,
		},
	})
}

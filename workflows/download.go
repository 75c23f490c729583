package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// settledNote is the signal that a request's token ended.
type settledNote struct {
	Interrupted bool `json:"interrupted"`
}

// Download is the life of one request: the policy decides; where it asks for
// approval, people do, and the requester claims; a token that was issued is
// consumed, revoked or expires; the request ends as its token did. What a crash
// left undone is completed here.
func Download(ctx workflow.Context, order engine.Order) error {
	d := &download{turn: workflow.NewMutex(ctx)}
	if err := d.listen(ctx); err != nil {
		return err
	}
	if err := d.decide(ctx, order); err != nil {
		return err
	}
	for !d.Request.Status.Ended() {
		var err error
		switch d.Request.Status {
		case engine.StatusPendingApproval:
			err = d.awaitPeople(ctx, d.Request.ApprovalExpiresAt)
		case engine.StatusApproved:
			err = d.awaitPeople(ctx, d.Request.ClaimExpiresAt)
		default:
			err = d.awaitEnd(ctx)
		}
		if err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

// download is a request's state. Only whoever has the turn takes a step, so that
// each begins where the one before it ended.
type download struct {
	engine.Pending
	decided bool
	claims  int
	turn    workflow.Mutex
}

func (d *download) decide(ctx workflow.Context, order engine.Order) error {
	var first engine.Decided
	if err := workflow.ExecuteLocalActivity(local(ctx), decideName, order).Get(ctx, &first); err != nil {
		return err
	}
	d.Request, d.decided = first.Request, true
	if first.Approval != nil {
		d.Approval = *first.Approval
	}
	return nil
}

// awaitPeople sleeps while the request stands as it does, until its time is up.
func (d *download) awaitPeople(ctx workflow.Context, until time.Time) error {
	from := d.Request.Status
	moved := func() bool { return d.Request.Status != from }
	if from == engine.StatusPendingApproval {
		workflow.Go(ctx, func(ctx workflow.Context) { d.remind(ctx, moved) })
	}
	if _, err := workflow.AwaitWithTimeout(ctx, until.Sub(workflow.Now(ctx)), moved); err != nil {
		return err
	}
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	if moved() {
		return nil
	}
	return d.take(ctx, d.Lapse)
}

// awaitEnd sleeps until the token is reported settled or its time is up, and
// asks again for as long as there is something to wait for. A token that takes
// its place meanwhile is found when the time of this one is up.
func (d *download) awaitEnd(ctx workflow.Context) error {
	reports := workflow.GetSignalChannel(ctx, settledSignal)
	c := engine.Conclusion{ProjectID: d.Request.ProjectID, RequestID: d.Request.ID}
	wait := d.Request.ExpiresAt.Sub(workflow.Now(ctx))
	for d.Request.Status == engine.StatusIssued {
		var note settledNote
		if told, _ := reports.ReceiveWithTimeout(ctx, wait, &note); told {
			c.Told, c.Interrupted = true, note.Interrupted
		}
		var err error
		if wait, err = d.conclude(ctx, c); err != nil {
			return err
		}
		c.Waited = !workflow.Now(ctx).Before(d.Request.ExpiresAt)
	}
	return nil
}

func (d *download) conclude(ctx workflow.Context, c engine.Conclusion) (time.Duration, error) {
	if err := d.turn.Lock(ctx); err != nil {
		return 0, err
	}
	defer d.turn.Unlock()
	var found engine.Concluded
	if err := workflow.ExecuteLocalActivity(local(ctx), concludeName, c).Get(ctx, &found); err != nil {
		return 0, err
	}
	d.Request.Status, d.Request.Version = found.Status, max(d.Request.Version, found.Version)
	return found.Wait, nil
}

// take computes a step, is in the state behind it from then on, and returns when
// it is stored.
func (d *download) take(ctx workflow.Context, compute func(now time.Time) (engine.Step, error)) error {
	step, err := compute(workflow.Now(ctx))
	if err != nil {
		return err
	}
	d.Request = step.Request
	if step.Approval != nil {
		d.Approval = *step.Approval
	}
	return workflow.ExecuteLocalActivity(local(ctx), advanceName, step).Get(ctx, nil)
}

// forever is longer than any outage. Left out, it would be the limit of one try,
// and a store that is down for so long would end requests.
const forever = 10 * 365 * 24 * time.Hour

// local are the options of every local activity: short tries, repeated until
// one succeeds or a rule of the engine refuses. A decision that comes too late
// cancels by itself.
func local(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: forever,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second,
		},
	})
}

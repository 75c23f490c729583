package workflows

import (
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// listen registers what callers may ask of the request. The rules refuse twice:
// in a validator, so that a refusal leaves no trace in the history, and again
// when the question's turn has come.
func (d *download) listen(ctx workflow.Context) error {
	return errors.Join(
		on(ctx, d, voteUpdate, d.vote, d.refuseVote),
		on(ctx, d, cancelUpdate, d.cancel, d.refuseCancel),
		on(ctx, d, claimUpdate, d.claim, d.refuseClaim),
	)
}

// on registers a step that callers may ask for. One that comes before the
// request is decided waits: its rules need the decision.
func on[In, Out any](ctx workflow.Context, d *download, name string, step func(workflow.Context, In) (Out, error), refuse func(In, time.Time) error) error {
	handle := func(ctx workflow.Context, in In) (out Out, err error) {
		if err := workflow.Await(ctx, func() bool { return d.decided }); err != nil {
			return out, err
		}
		if err := d.turn.Lock(ctx); err != nil {
			return out, err
		}
		defer d.turn.Unlock()
		if err := refuse(in, workflow.Now(ctx)); err != nil {
			return out, refusal(err)
		}
		return step(ctx, in)
	}
	validate := func(ctx workflow.Context, in In) error {
		if !d.decided {
			return nil
		}
		return refusal(refuse(in, workflow.Now(ctx)))
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, name, handle, workflow.UpdateHandlerOptions{Validator: validate})
}

func (d *download) vote(ctx workflow.Context, b engine.Ballot) (engine.Approval, error) {
	err := d.take(ctx, func(now time.Time) (engine.Step, error) { return d.Vote(b, now) })
	return d.Approval, err
}

func (d *download) refuseVote(b engine.Ballot, now time.Time) error {
	return d.Approval.Refuse(b.Vote.Actor, now)
}

func (d *download) cancel(ctx workflow.Context, w engine.Withdrawal) (engine.Request, error) {
	err := d.take(ctx, func(now time.Time) (engine.Step, error) { return d.Cancel(w, now) })
	return d.Request, err
}

func (d *download) refuseCancel(w engine.Withdrawal, now time.Time) error {
	return w.Refuse(d.Request, now)
}

func (d *download) claim(ctx workflow.Context, c engine.Claim) (engine.Request, error) {
	c.Request = d.Request
	var issued engine.Request
	if err := workflow.ExecuteLocalActivity(local(ctx), issueName, c).Get(ctx, &issued); err != nil {
		return issued, err
	}
	d.Request, d.claims = issued, d.claims+1
	return issued, nil
}

// maxClaims bounds a request's history: each claim adds to it.
const maxClaims = 500

func (d *download) refuseClaim(_ engine.Claim, now time.Time) error {
	if d.claims >= maxClaims {
		return engine.Errorf(engine.CodeNotPending, "this request was claimed %d times; ask anew", d.claims)
	}
	return d.Request.RefuseClaim(now)
}

// refusal carries an engine error through Temporal, which does not try again
// what a rule refuses.
func refusal(err error) error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return temporal.NewNonRetryableApplicationError(e.Detail, string(e.Code), nil)
	}
	return err
}

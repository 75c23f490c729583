package workflows

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// listen registers what callers may ask of the request. A validator refuses
// what will never be possible again, so that it leaves no trace in the history;
// everything else is for the step to say, which sees how the request stands.
func (d *download) listen(ctx workflow.Context) error {
	return errors.Join(
		on(ctx, d, voteUpdate, voteName, func(b engine.VoteCommand) error { return d.request.CheckVoter(b.Vote.Actor) }),
		on(ctx, d, cancelUpdate, cancelName, func(engine.CancelCommand) error { return nil }),
		on(ctx, d, claimUpdate, issueName, func(engine.ClaimCommand) error { return d.refuseClaim() }),
	)
}

// on registers a step that callers may ask for. One that comes before the
// request is decided waits for that.
func on[In any](ctx workflow.Context, d *download, update, step string, refuse func(In) error) error {
	handle := func(ctx workflow.Context, in In) (engine.Request, error) {
		if err := workflow.Await(ctx, func() bool { return d.decided }); err != nil {
			return engine.Request{}, err
		}
		if err := d.turn.Lock(ctx); err != nil {
			return engine.Request{}, err
		}
		defer d.turn.Unlock()
		err := d.step(ctx, step, in)
		if err == nil && step == issueName {
			d.claims++
		}
		return d.request, err
	}
	validate := func(_ workflow.Context, in In) error {
		if !d.decided {
			return nil
		}
		err := refuse(in)
		if err == nil && d.request.Status.Ended() {
			err = errEnded
		}
		return refusal(err)
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, update, handle, workflow.UpdateHandlerOptions{Validator: validate})
}

var errEnded = engine.Errorf(engine.CodeNotPending, "this request has ended meanwhile")

// maxClaims bounds a request's history: each claim adds to it.
const maxClaims = 500

func (d *download) refuseClaim() error {
	if d.claims >= maxClaims {
		return engine.Errorf(engine.CodeNotPending, "this request was claimed %d times; ask anew", d.claims)
	}
	return nil
}

// rules are the codes with which a step is refused for good. What else goes
// wrong may pass, and the step is tried again.
var rules = []engine.Code{
	engine.CodeSelfApproval, engine.CodeAlreadyDecided, engine.CodeNotPending, engine.CodeNotApproved, engine.CodeInvalidRequest,
}

// refusal carries a rule's refusal through Temporal, which does not try again
// what it refuses.
func refusal(err error) error {
	if e, ok := errors.AsType[*engine.Error](err); ok && slices.Contains(rules, e.Code) {
		return temporal.NewNonRetryableApplicationError(e.Detail, string(e.Code), nil)
	}
	return err
}

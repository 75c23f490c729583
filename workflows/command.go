package workflows

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// command is a transition that a caller requested by an Update. The Update's handler
// waits until the workflow has run it.
type command struct {
	transition string
	input      any
	done       bool
	result     engine.Request
	err        error
}

// acceptCommands registers the Updates by which approvers vote and the requester
// cancels or claims. A validator refuses what can never become possible, so that
// it leaves no trace in the history. Everything else is decided by the transition,
// from the stored request.
func (d *download) acceptCommands(ctx workflow.Context) error {
	return errors.Join(
		accept(ctx, d, voteUpdate, voteName, func(c engine.VoteCommand) error { return d.request.CheckVoter(c.Vote.Actor) }),
		accept(ctx, d, cancelUpdate, cancelName, func(engine.CancelCommand) error { return nil }),
		accept(ctx, d, claimUpdate, claimName, func(engine.ClaimCommand) error { return d.request.CheckClaims() }),
	)
}

// accept registers one Update. A command that comes before the policy has decided
// waits for the decision.
func accept[In engine.Command](ctx workflow.Context, d *download, update, transition string, check func(In) error) error {
	handle := func(ctx workflow.Context, in In) (engine.Request, error) {
		// The codec cannot tell whether the command was sent to this workflow.
		if _, requestID := in.For(); requestID != workflow.GetInfo(ctx).WorkflowExecution.ID {
			return engine.Request{}, permanent(errElsewhere)
		}
		c := &command{transition: transition, input: in}
		d.commands = append(d.commands, c)
		if err := workflow.Await(ctx, func() bool { return c.done }); err != nil {
			return engine.Request{}, err
		}
		return c.result, c.err
	}
	validate := func(_ workflow.Context, in In) error {
		if d.request.ID == "" { // not decided yet
			return nil
		}
		err := check(in)
		if err == nil && d.request.Status.Ended() {
			err = errEnded
		}
		return permanent(err)
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, update, handle, workflow.UpdateHandlerOptions{Validator: validate})
}

var errElsewhere = engine.Errorf(engine.CodeInvalidRequest, "this command is for another request")

// execute carries out the command that waits longest, if there is one.
func (d *download) execute(ctx workflow.Context) {
	if d.err != nil || len(d.commands) == 0 {
		return
	}
	c := d.commands[0]
	d.commands = d.commands[1:]
	c.err = d.transition(ctx, c.transition, c.input)
	c.result, c.done = d.request, true
}

// claimed reports whether a claim is the next command of a request that can be
// claimed.
func (d *download) claimed() bool {
	return !d.in(engine.StatusPendingApproval) && len(d.commands) > 0 && d.commands[0].transition == claimName
}

var errEnded = engine.Errorf(engine.CodeNotPending, "this request has ended")

// permanentCodes are the codes of refusals that another attempt cannot change.
// Every other error may pass, and the transition is tried again.
var permanentCodes = []engine.Code{
	engine.CodeSelfApproval, engine.CodeAlreadyDecided, engine.CodePasswordChangeRequired, engine.CodeForbidden,
	engine.CodeNotPending, engine.CodeNotApproved, engine.CodeNoLongerPermitted, engine.CodeInvalidRequest,
}

// permanent makes a refusal an error that Temporal passes on and does not retry.
func permanent(err error) error {
	if e, ok := engine.AsError(err); ok && slices.Contains(permanentCodes, e.Code) {
		return temporal.NewNonRetryableApplicationError(e.Detail, string(e.Code), nil)
	}
	return err
}

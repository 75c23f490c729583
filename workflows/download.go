package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// Download is the life of one download request, step by step. A step does nothing
// unless the request is in the state that the step is for, and nothing after an
// error. Approvers and the requester act on the request by Updates, which the
// steps carry out one at a time (see command.go).
func Download(ctx workflow.Context, input engine.WorkflowInput) error {
	d := newDownload(ctx)
	d.evaluatePolicy(ctx, input) // denied: the request has ended; allowed: its token is issued
	return d.untilEnd(ctx)
}

// untilEnd is the rest of a request's life, from any state on.
func (d *download) untilEnd(ctx workflow.Context) error {
	d.awaitApproval(ctx) // quorum, denial, expiry or cancellation
	for d.open() {
		d.awaitClaim(ctx) // claim, expiry or cancellation
		d.issueToken(ctx)
		d.awaitSettlement(ctx) // consumption, revocation or the end of the token's life
		d.recordOutcome(ctx)   // a token that expired unused can be claimed again
	}
	return d.finish(ctx)
}

// evaluatePolicy has the policy decide on the request.
func (d *download) evaluatePolicy(ctx workflow.Context, input engine.WorkflowInput) {
	d.fail(d.transition(ctx, evaluatePolicyName, input))
}

// awaitApproval carries out votes until the approval is settled, and expires the
// request if that takes too long. Approvers are reminded once.
func (d *download) awaitApproval(ctx workflow.Context) {
	if d.in(engine.StatusPendingApproval) {
		workflow.Go(ctx, d.remindApprovers)
	}
	d.awaitDeadline(ctx, engine.StatusPendingApproval)
}

// awaitClaim waits until the requester claims the approved request, and expires
// the request if the claim window passes.
func (d *download) awaitClaim(ctx workflow.Context) {
	d.awaitDeadline(ctx, engine.StatusApproved)
}

// awaitDeadline carries out commands while the request is in a state, and expires
// the request at its deadline.
func (d *download) awaitDeadline(ctx workflow.Context, state engine.Status) {
	for d.in(state) && !d.claimed() {
		if d.awaitDue(ctx) {
			expire := engine.ExpireCommand{ProjectID: d.request.ProjectID, RequestID: d.request.ID}
			d.fail(d.transition(ctx, expireName, expire))
			d.reported = d.reported && !d.in(state) // in this state the request has no token
		}
	}
}

// issueToken issues the token that the requester claims. A repeated claim revokes
// the token before it.
func (d *download) issueToken(ctx workflow.Context) {
	if d.claimed() {
		d.execute(ctx)
	}
}

// awaitSettlement waits until the token is reported to have ended, its life is
// over, or it is claimed again.
func (d *download) awaitSettlement(ctx workflow.Context) {
	for d.in(engine.StatusIssued) && !d.claimed() {
		if d.awaitDue(ctx) {
			return
		}
	}
}

// recordOutcome brings the request to the state in which its token ended.
func (d *download) recordOutcome(ctx workflow.Context) {
	if !d.in(engine.StatusIssued) || d.claimed() {
		return
	}
	check := engine.SettlementCheck{
		ProjectID: d.request.ProjectID, RequestID: d.request.ID, Report: d.report, Waited: d.waited,
	}
	d.reported = false
	d.fail(d.transition(ctx, recordSettlementName, check))
	d.waited = !workflow.Now(ctx).Before(d.request.ExpiresAt)
}

// finish answers the commands that came too late, and waits until people are
// notified of a settled approval.
func (d *download) finish(ctx workflow.Context) error {
	for d.err == nil && !workflow.AllHandlersFinished(ctx) {
		d.fail(workflow.Await(ctx, func() bool { return len(d.commands) > 0 || workflow.AllHandlersFinished(ctx) }))
		d.execute(ctx)
	}
	if d.err == nil {
		d.announcements.Wait(ctx)
	}
	return d.err
}

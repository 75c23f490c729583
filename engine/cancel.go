package engine

import (
	"context"
	"time"
)

// CancelCommand asks a request's workflow to cancel the request for its requester.
type CancelCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Actor     Actor  `json:"actor"`
	Origin    Origin `json:"origin"`
}

// For is the request that the command is for.
func (c CancelCommand) For() (projectID, requestID string) { return c.ProjectID, c.RequestID }

// DoneIn reports whether the command was carried out already.
func (c CancelCommand) DoneIn(r Request) bool { return r.Status == StatusCancelled }

// Cancel has the workflow cancel a request that waits for approval or for its
// claim. It returns CodeNotPending or CodeUnavailable.
func (d *Downloads) Cancel(ctx context.Context, caller Caller, r Request) (Request, error) {
	if err := r.CheckCancel(d.Clock()); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	return d.Workflows.Cancel(ctx, CancelCommand{ProjectID: r.ProjectID, RequestID: r.ID, Actor: caller.Actor(), Origin: caller.Origin})
}

// Cancel ends a request that waits, or returns CodeNotPending. A request that is
// cancelled already stays as it is.
func (t *Transitions) Cancel(ctx context.Context, c CancelCommand) (Request, error) {
	return t.advance(ctx, c.ProjectID, c.RequestID, func(r Request, _ Approval, now time.Time) (Transition, error) {
		if c.DoneIn(r) {
			return Transition{Request: r}, nil
		}
		if err := r.CheckCancel(now); err != nil {
			return Transition{}, err
		}
		return r.end(StatusCancelled, now, ActionDownloadCancelled, c.Actor, c.Origin)
	})
}

// CheckCancel returns CodeNotPending unless the request still waits at now for
// approval or for its claim.
func (r Request) CheckCancel(now time.Time) error {
	deadline := map[Status]time.Time{StatusPendingApproval: r.ApprovalExpiresAt, StatusApproved: r.ClaimExpiresAt}[r.Status]
	switch {
	case deadline.IsZero():
		return Errorf(CodeNotPending, "this request is %s; only a request that waits for approval or for its claim can be cancelled", r.Status)
	case !now.Before(deadline):
		return Errorf(CodeNotPending, "this request expired at %s", deadline.Format(time.RFC3339))
	}
	return nil
}

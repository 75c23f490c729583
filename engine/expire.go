package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ExpireCommand names a request whose deadline may have passed.
type ExpireCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
}

// Expire ends a request that was not approved in time, or that its requester did
// not claim in time. Before the deadline, and in every other state, it changes
// nothing.
func (t *Transitions) Expire(ctx context.Context, c ExpireCommand) (TransitionResult, error) {
	var wait time.Duration
	r, err := t.advance(ctx, c.ProjectID, c.RequestID, func(r Request, _ Approval, now time.Time) (Transition, error) {
		deadline := r.Deadline()
		switch {
		case r.Status != StatusPendingApproval && r.Status != StatusApproved:
		case now.Before(deadline):
			wait = deadline.Sub(now)
		case r.Status == StatusPendingApproval:
			return r.end(StatusExpired, now, ActionApprovalExpired, System, Origin{})
		default:
			return r.end(StatusExpired, now, ActionDownloadExpired, System, Origin{})
		}
		return Transition{Request: r}, nil
	})
	return resultOf(c.RequestID, r, wait, err)
}

// statusAfterExpiredToken is the state of a request whose token expired unused: within
// the claim window of its approval the requester can claim another token.
func (r Request) statusAfterExpiredToken(now time.Time) Status {
	if r.Claimable(now) {
		return StatusApproved
	}
	return StatusExpired
}

// resultOf is the result of a transition that time or a settlement made due. A
// request that retention deleted meanwhile counts as expired, so that its
// workflow ends.
func resultOf(requestID string, r Request, wait time.Duration, err error) (TransitionResult, error) {
	if errors.Is(err, errRequestDeleted) {
		return TransitionResult{Request: Request{ID: requestID, Status: StatusExpired}}, nil
	}
	if err != nil {
		return TransitionResult{}, fmt.Errorf("request %s: %w", requestID, err)
	}
	return TransitionResult{Request: r, Wait: wait}, nil
}

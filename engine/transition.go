package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// Step is one step in a request's life, which the store writes as one: the
// request, the token it gives out, the approval that changes with it, and what
// goes on record.
type Transition struct {
	Request  Request
	Token    *Token
	Approval *Approval
	Record   *Record
}

// Standing is how a request stands after a step, for its workflow to go by. Wait
// is how long nothing will be due, if that is known. Announce asks to tell of
// the approval, which is settled.
type TransitionResult struct {
	Request  Request       `json:"request"`
	Wait     time.Duration `json:"wait"`
	Announce bool          `json:"announce"`
}

// VoteCommand is a vote on its way to an approval, and where it came from. The vote
// gets its time when it is counted.
type VoteCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Vote      Vote   `json:"vote"`
	Origin    Origin `json:"origin"`
}

// CancelCommand is a requester's wish to cancel what waits.
type CancelCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Actor     Actor  `json:"actor"`
	Origin    Origin `json:"origin"`
}

// take takes one step from how the store has the request, whatever its workflow
// remembers: a step whose answer was lost in a crash is seen so. compute returns
// no record where there is nothing to do; what a crash left missing of the step
// before is completed then. Of two steps at once one fails, to be tried again.
func (d *Downloads) advance(ctx context.Context, projectID, requestID string, compute func(Request, Approval, time.Time) (Transition, error)) (Request, error) {
	r, err := d.Store.Request(ctx, projectID, requestID)
	if err != nil {
		return r, fmt.Errorf("take step: %w", err)
	}
	var a Approval
	if r.ApprovalID != "" {
		if a, err = d.Store.Approval(ctx, projectID, r.ApprovalID); err != nil {
			return r, fmt.Errorf("take step: %w", err)
		}
	}
	next, err := compute(r, a.of(r), d.Clock())
	if err != nil {
		return r, err
	}
	if next.Record != nil && r.ApprovalID != "" {
		moved := a.of(next.Request)
		next.Approval = &moved
	}
	if err := d.Store.AdvanceRequest(ctx, next); err != nil {
		return r, fmt.Errorf("take step: %w", err)
	}
	if next.Record != nil {
		failpoint.Hit("stepped")
	}
	return next.Request, nil
}

// CastVote counts a vote. It returns CodeSelfApproval, CodeAlreadyDecided or
// CodeNotPending. Called again with the same ballot, it comes to the same.
func (d *Downloads) CastVote(ctx context.Context, b VoteCommand) (Request, error) {
	return d.advance(ctx, b.ProjectID, b.RequestID, func(r Request, a Approval, now time.Time) (Transition, error) {
		if slices.ContainsFunc(r.Decisions, func(v Vote) bool { return v.ID == b.Vote.ID }) {
			return Transition{Request: r}, nil
		}
		if err := a.CheckVote(b.Vote.Actor, now); err != nil {
			return Transition{}, err
		}
		return r.count(b, now)
	})
}

// count adds a vote that may count: one denial settles, and so does the last
// approval that was missing.
func (r Request) count(b VoteCommand, now time.Time) (Transition, error) {
	b.Vote.Time = now
	r.Decisions = append(slices.Clone(r.Decisions), b.Vote)
	to, action := StatusPendingApproval, ActionApprovalApproved
	switch {
	case b.Vote.Decision != DecisionApprove:
		to, action = StatusDenied, ActionApprovalDenied
		r.Code = CodePolicyDenied
		r.Explanation = []string{fmt.Sprintf("%s denied the request: %s", b.Vote.Actor.Username, b.Vote.Comment)}
	case r.approvals() >= max(1, r.RequiredApprovals):
		to, r.ClaimExpiresAt = StatusApproved, now.Add(time.Duration(r.ClaimWindowSeconds)*time.Second)
	}
	r, err := r.become(to, now)
	e := r.entry(now, action, b.Vote.Actor, b.Origin)
	e.Ref = "vote/" + r.ApprovalID + "/" + b.Vote.Actor.Person
	e.Detail["approvals"] = fmt.Sprintf("%d of %d", r.approvals(), max(1, r.RequiredApprovals))
	if b.Vote.Comment != "" {
		e.Detail["comment"] = b.Vote.Comment
	}
	return Transition{Request: r, Record: &Record{Audit: e}}, err
}

// Withdraw cancels a request that waits, or returns CodeNotPending. Called again,
// it comes to the same.
func (d *Downloads) Withdraw(ctx context.Context, w CancelCommand) (Request, error) {
	return d.advance(ctx, w.ProjectID, w.RequestID, func(r Request, _ Approval, now time.Time) (Transition, error) {
		if r.Status == StatusCancelled {
			return Transition{Request: r}, nil
		}
		if err := w.CheckCancel(r, now); err != nil {
			return Transition{}, err
		}
		return r.end(StatusCancelled, now, ActionDownloadCancelled, w.Actor, w.Origin)
	})
}

// Refuse returns CodeNotPending unless the request still waits at now, to be
// approved or to be claimed.
func (w CancelCommand) CheckCancel(r Request, now time.Time) error {
	until := map[Status]time.Time{StatusPendingApproval: r.ApprovalExpiresAt, StatusApproved: r.ClaimExpiresAt}[r.Status]
	switch {
	case until.IsZero():
		return Errorf(CodeNotPending, "this request is %s; only one that waits is cancelled", r.Status)
	case !now.Before(until):
		return Errorf(CodeNotPending, "this request waited until %s", until.Format(time.RFC3339))
	}
	return nil
}

// lapse ends a request that nobody decided on in time, or that nobody claimed.
func (r Request) expire(now time.Time) (Transition, error) {
	action := ActionDownloadExpired
	if r.Status == StatusPendingApproval {
		action = ActionApprovalExpired
	}
	return r.end(StatusExpired, now, action, System, Origin{})
}

func (r Request) end(as Status, now time.Time, action string, by Actor, from Origin) (Transition, error) {
	r, err := r.become(as, now)
	e := r.entry(now, action, by, from)
	e.Ref = "end/" + r.ID
	return Transition{Request: r, Record: &Record{Audit: e}}, err
}

// entry begins an audit entry about the request.
func (r Request) entry(at time.Time, action string, by Actor, from Origin) AuditEntry {
	e := AuditEntry{
		ProjectID: r.ProjectID, Time: at, Action: action, Outcome: AuditSuccess, Actor: by, IP: from.IP, UserAgent: from.UserAgent,
		CertificateID: r.CertificateID, RequestID: r.ID, Format: r.Format, Detail: map[string]string{"status": string(r.Status)},
	}
	if r.ApprovalID != "" {
		e.Detail["approval_id"], e.Detail["approval_status"] = r.ApprovalID, string(r.approvalStatus())
	}
	return e
}

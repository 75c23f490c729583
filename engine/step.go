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
type Step struct {
	Request  Request
	Token    *Token
	Approval *Approval
	Record   *Record
}

// Standing is how a request stands after a step, for its workflow to go by. Wait
// is how long nothing will be due, if that is known. Announce asks to tell of
// the approval, which is settled.
type Standing struct {
	Request  Request       `json:"request"`
	Wait     time.Duration `json:"wait"`
	Announce bool          `json:"announce"`
}

// Ballot is a vote on its way to an approval, and where it came from. The vote
// gets its time when it is counted.
type Ballot struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Vote      Vote   `json:"vote"`
	Origin    Origin `json:"origin"`
}

// Withdrawal is a requester's wish to cancel what waits.
type Withdrawal struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Actor     Actor  `json:"actor"`
	Origin    Origin `json:"origin"`
}

// take takes one step from how the store has the request, whatever its workflow
// remembers: a step whose answer was lost in a crash is seen so. compute returns
// no record where there is nothing to do; what a crash left missing of the step
// before is completed then. Of two steps at once one fails, to be tried again.
func (d *Downloads) take(ctx context.Context, projectID, requestID string, compute func(Request, Approval, time.Time) (Step, error)) (Request, error) {
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
func (d *Downloads) CastVote(ctx context.Context, b Ballot) (Request, error) {
	return d.take(ctx, b.ProjectID, b.RequestID, func(r Request, a Approval, now time.Time) (Step, error) {
		if slices.ContainsFunc(r.Decisions, func(v Vote) bool { return v.ID == b.Vote.ID }) {
			return Step{Request: r}, nil
		}
		if err := a.Refuse(b.Vote.Actor, now); err != nil {
			return Step{}, err
		}
		return r.count(b, now)
	})
}

// count adds a vote that may count: one denial settles, and so does the last
// approval that was missing.
func (r Request) count(b Ballot, now time.Time) (Step, error) {
	b.Vote.Time = now
	r.Decisions = append(slices.Clone(r.Decisions), b.Vote)
	to, action := StatusPendingApproval, ActionApproved
	switch {
	case b.Vote.Decision != DecisionApprove:
		to, action = StatusDenied, ActionDenied
		r.Code = CodePolicyDenied
		r.Explanation = []string{fmt.Sprintf("%s denied the request: %s", b.Vote.Actor.Username, b.Vote.Comment)}
	case r.approvals() >= max(1, r.RequiredApprovals):
		to, r.ClaimExpiresAt = StatusApproved, now.Add(time.Duration(r.ClaimWindowSeconds)*time.Second)
	}
	r, err := r.step(to, now)
	e := r.entry(now, action, b.Vote.Actor, b.Origin)
	e.Ref = "vote/" + r.ApprovalID + "/" + b.Vote.Actor.Person
	e.Detail["approvals"] = fmt.Sprintf("%d of %d", r.approvals(), max(1, r.RequiredApprovals))
	if b.Vote.Comment != "" {
		e.Detail["comment"] = b.Vote.Comment
	}
	return Step{Request: r, Record: &Record{Audit: e}}, err
}

// Withdraw cancels a request that waits, or returns CodeNotPending. Called again,
// it comes to the same.
func (d *Downloads) Withdraw(ctx context.Context, w Withdrawal) (Request, error) {
	return d.take(ctx, w.ProjectID, w.RequestID, func(r Request, _ Approval, now time.Time) (Step, error) {
		if r.Status == StatusCancelled {
			return Step{Request: r}, nil
		}
		if err := w.Refuse(r, now); err != nil {
			return Step{}, err
		}
		return r.end(StatusCancelled, now, ActionCancelled, w.Actor, w.Origin)
	})
}

// Refuse returns CodeNotPending unless the request still waits at now, to be
// approved or to be claimed.
func (w Withdrawal) Refuse(r Request, now time.Time) error {
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
func (r Request) lapse(now time.Time) (Step, error) {
	action := ActionUnclaimed
	if r.Status == StatusPendingApproval {
		action = ActionLapsed
	}
	return r.end(StatusExpired, now, action, System, Origin{})
}

func (r Request) end(as Status, now time.Time, action string, by Actor, from Origin) (Step, error) {
	r, err := r.step(as, now)
	e := r.entry(now, action, by, from)
	e.Ref = "end/" + r.ID
	return Step{Request: r, Record: &Record{Audit: e}}, err
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

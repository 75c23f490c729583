package engine

import (
	"fmt"
	"time"
)

// Pending is a request that waits for people, with the approval it waits for, as
// its workflow holds them. Its methods are the steps it may take; they only
// compute, so that a workflow can take them again and come to the same.
type Pending struct {
	Request  Request  `json:"request"`
	Approval Approval `json:"approval"`
}

// Ballot is a vote on its way to an approval, and where it came from. The
// workflow gives it its time.
type Ballot struct {
	RequestID string `json:"request_id"`
	Vote      Vote   `json:"vote"`
	Origin    Origin `json:"origin"`
}

// Withdrawal is a requester's wish to cancel what waits.
type Withdrawal struct {
	RequestID string `json:"request_id"`
	Actor     Actor  `json:"actor"`
	Origin    Origin `json:"origin"`
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

// Vote counts a vote that [Approval.Refuse] let pass.
func (p Pending) Vote(b Ballot, now time.Time) (Step, error) {
	b.Vote.Time = now
	approval := p.Approval.with(b.Vote)
	r, err := p.Request, error(nil)
	switch approval.Status {
	case ApprovalApproved:
		r.ClaimExpiresAt = now.Add(time.Duration(r.ClaimWindowSeconds) * time.Second)
		r, err = r.step(StatusApproved, now)
	case ApprovalDenied:
		r.Code = CodePolicyDenied
		r.Explanation = []string{fmt.Sprintf("%s denied the request: %s", b.Vote.Actor.Username, b.Vote.Comment)}
		r, err = r.step(StatusDenied, now)
	}
	action := ActionApproved
	if b.Vote.Decision != DecisionApprove {
		action = ActionDenied
	}
	e := r.entry(now, action, b.Vote.Actor, b.Origin)
	e.Ref = "vote/" + approval.ID + "/" + b.Vote.Actor.Person
	e.Detail["approval_status"], e.Detail["digest"] = string(approval.Status), approval.Digest
	e.Detail["approvals"] = fmt.Sprintf("%d of %d", approval.approvals(), max(1, approval.Required))
	if b.Vote.Comment != "" {
		e.Detail["comment"] = b.Vote.Comment
	}
	return Step{Request: r, Approval: &approval, Record: &Record{Audit: e}}, err
}

// Cancel ends the request by its requester's wish.
func (p Pending) Cancel(w Withdrawal, now time.Time) (Step, error) {
	return p.end(StatusCancelled, ApprovalCancelled, now, ActionCancelled, w.Actor, w.Origin)
}

// Lapse ends a request that nobody decided on in time, or that nobody claimed.
func (p Pending) Lapse(now time.Time) (Step, error) {
	action := ActionUnclaimed
	if p.Request.Status == StatusPendingApproval {
		action = ActionLapsed
	}
	return p.end(StatusExpired, ApprovalExpired, now, action, System, Origin{})
}

// end ends the request, and the approval with it unless that is settled.
func (p Pending) end(as Status, approvalAs ApprovalStatus, now time.Time, action string, by Actor, from Origin) (Step, error) {
	r, err := p.Request.step(as, now)
	e := r.entry(now, action, by, from)
	e.Ref = "end/" + r.ID
	s := Step{Request: r, Record: &Record{Audit: e}}
	if p.Approval.Status == ApprovalPending {
		settled := p.Approval.settled(approvalAs, now)
		s.Approval = &settled
	}
	return s, err
}

// entry begins an audit entry about the request.
func (r Request) entry(at time.Time, action string, by Actor, from Origin) AuditEntry {
	e := AuditEntry{
		ProjectID: r.ProjectID, Time: at, Action: action, Outcome: AuditSuccess, Actor: by, IP: from.IP, UserAgent: from.UserAgent,
		CertificateID: r.CertificateID, RequestID: r.ID, Format: r.Format, Detail: map[string]string{"status": string(r.Status)},
	}
	if r.ApprovalID != "" {
		e.Detail["approval_id"] = r.ApprovalID
	}
	return e
}

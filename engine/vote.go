package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// VoteCommand asks a request's workflow to count a vote. The vote gets its time
// when it is counted.
type VoteCommand struct {
	ProjectID string `json:"project_id"`
	RequestID string `json:"request_id"`
	Vote      Vote   `json:"vote"`
	Origin    Origin `json:"origin"`
}

// Vote sends the caller's decision on an approval to its workflow. It returns
// CodeSelfApproval, CodeCommentRequired, CodeInvalidRequest, CodeAlreadyDecided,
// CodeNotPending or CodeUnavailable.
func (d *Downloads) Vote(ctx context.Context, caller Caller, a Approval, decision Decision, comment string) (Approval, error) {
	v := Vote{ID: NewID("vote"), Actor: caller.Actor(), Disablings: caller.User.Disablings, Decision: decision, Comment: comment}
	err := a.CheckVote(v.Actor, d.Clock())
	if errors.Is(err, CodeSelfApproval) {
		e := caller.Refusal(d.Clock(), ActionAccessRefused, CodeSelfApproval)
		e.CertificateID, e.RequestID, e.Format = a.Certificate.ID, a.RequestID, a.Format
		d.record(ctx, e)
		return a, err
	}
	if err := v.checkComment(); err != nil {
		return a, err
	}
	if err != nil {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	command := VoteCommand{ProjectID: a.ProjectID, RequestID: a.RequestID, Vote: v, Origin: caller.Origin}
	if _, err := d.Workflows.Vote(ctx, command); err != nil {
		return a, err
	}
	return d.Store.Approval(ctx, a.ProjectID, a.ID)
}

// Vote counts a vote. It returns CodeSelfApproval, CodeAlreadyDecided or
// CodeNotPending. A vote that is counted already changes nothing.
func (t *Transitions) Vote(ctx context.Context, c VoteCommand) (Request, error) {
	return t.advance(ctx, c.ProjectID, c.RequestID, func(r Request, a Approval, now time.Time) (Transition, error) {
		if slices.ContainsFunc(r.Decisions, func(v Vote) bool { return v.ID == c.Vote.ID }) {
			return Transition{Request: r}, nil
		}
		if err := a.CheckVote(c.Vote.Actor, now); err != nil {
			return Transition{}, err
		}
		c.Vote.Time = now
		votes, err := countVotes(ctx, t.Store, r.ProjectID, r.Requester, append(slices.Clone(r.Decisions), c.Vote))
		if err != nil {
			return Transition{}, err
		}
		return r.count(c, votes, now)
	})
}

// count adds a vote that may count. One denial settles the approval, and so does
// the approval that completes the quorum of people who may still approve.
func (r Request) count(c VoteCommand, votes voteCount, now time.Time) (Transition, error) {
	r.Decisions = append(slices.Clone(r.Decisions), c.Vote)
	r.QuorumNote = ""
	to, action := StatusPendingApproval, ActionApprovalApproved
	switch {
	case c.Vote.Decision != DecisionApprove:
		to, action = StatusDenied, ActionApprovalDenied
		r.Code = CodePolicyDenied
		r.Explanation = []string{fmt.Sprintf("%s denied the request: %s", c.Vote.Actor.Username, c.Vote.Comment)}
	case votes.present >= max(1, r.RequiredApprovals):
		to, r.ClaimExpiresAt = StatusApproved, now.Add(time.Duration(r.ClaimWindowSeconds)*time.Second)
	case len(votes.gone) > 0:
		r.QuorumNote = votes.shortOf(max(1, r.RequiredApprovals))
	}
	r, err := r.become(to, now)
	e := r.entry(now, action, c.Vote.Actor, c.Origin)
	e.Ref = "vote/" + r.ApprovalID + "/" + c.Vote.Actor.Person
	e.Detail["approvals"] = fmt.Sprintf("%d of %d", votes.present, max(1, r.RequiredApprovals))
	if c.Vote.Comment != "" {
		e.Detail["comment"] = c.Vote.Comment
	}
	return Transition{Request: r, Record: &Record{Audit: e}}, err
}

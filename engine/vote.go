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

// For is the request that the command is for.
func (c VoteCommand) For() (projectID, requestID string) { return c.ProjectID, c.RequestID }

// DoneIn reports whether the command was carried out already.
func (c VoteCommand) DoneIn(r Request) bool {
	return slices.ContainsFunc(r.Decisions, func(v Vote) bool { return v.ID == c.Vote.ID })
}

// Vote sends the caller's decision on an approval to its workflow. It returns
// CodeSelfApproval, CodeCommentRequired, CodeInvalidRequest, CodeAlreadyDecided,
// CodePasswordChangeRequired, CodeForbidden, CodeNotPending or CodeUnavailable.
func (d *Downloads) Vote(ctx context.Context, caller Caller, a Approval, decision Decision, comment string) (Approval, error) {
	v := Vote{ID: NewID("vote"), Actor: caller.Actor(), Losses: caller.losses(), Time: d.Clock(), Decision: decision, Comment: comment}
	_, _, err := a.cast(ctx, d.Store, v)
	if errors.Is(err, CodeSelfApproval) {
		e := caller.Refusal(d.Clock(), ActionAccessRefused, CodeSelfApproval)
		e.CertificateID, e.RequestID, e.Format = a.Certificate.ID, a.RequestID, a.Format
		d.Refusals.Record(ctx, e, v.Actor.Person)
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

// VoidVotes returns the ids of an approval's votes that do not stand now.
func (d *Downloads) VoidVotes(ctx context.Context, a Approval) (map[string]bool, error) {
	void := map[string]bool{}
	for _, v := range a.Decisions {
		_, stands, err := standing(ctx, d.Store, a.ProjectID, v)
		if err != nil {
			return nil, err
		}
		void[v.ID] = !stands
	}
	return void, nil
}

// Vote counts a vote. It returns the codes of [Approval.cast]. A vote that is
// counted already changes nothing.
func (t *Transitions) Vote(ctx context.Context, c VoteCommand) (Request, error) {
	return t.advance(ctx, c.ProjectID, c.RequestID, func(r Request, a Approval, now time.Time) (Transition, error) {
		if c.DoneIn(r) {
			return Transition{Request: r}, nil
		}
		c.Vote.Time = now
		decisions, votes, err := a.cast(ctx, t.Store, c.Vote)
		if err != nil {
			return Transition{}, err
		}
		r.Decisions = decisions
		return r.count(c, votes, now)
	})
}

var (
	errAlreadyDecided = Errorf(CodeAlreadyDecided, "you have already decided on this approval")
	errMayNotVote     = Errorf(CodeForbidden, "you may no longer decide on this approval")
	errPasswordKnown  = Errorf(CodePasswordChangeRequired, "another person set your password, so a decision could be theirs; change your password, then decide")
)

// cast adds a vote to the approval's, and counts. The vote takes the place of an
// earlier one of the same person that does not stand any more. It does so too if
// the votes that stand now suffice: roles may have come back since they were
// counted. It returns CodeSelfApproval, CodeNotPending, CodeAlreadyDecided,
// CodePasswordChangeRequired, or CodeForbidden if the person may not vote now.
func (a Approval) cast(ctx context.Context, store rightsReader, v Vote) (decisions []Vote, votes voteCount, err error) {
	if err := a.checkOpen(v.Actor, v.Time); err != nil {
		return nil, votes, err
	}
	switch voter, stands, err := standing(ctx, store, a.ProjectID, v); {
	case err != nil:
		return nil, votes, err
	case voter.PasswordSetByOther:
		return nil, votes, errPasswordKnown
	case !stands:
		return nil, votes, errMayNotVote
	}
	again := false
	for _, earlier := range a.Decisions {
		if earlier.Actor.Person != v.Actor.Person {
			decisions = append(decisions, earlier)
		} else if _, again, err = standing(ctx, store, a.ProjectID, earlier); err != nil {
			return nil, votes, err
		}
	}
	votes, err = countVotes(ctx, store, a.ProjectID, a.Requester, decisions)
	if decisions = append(decisions, v); v.Decision == DecisionApprove { // it stands, as was read above
		votes.present++
	}
	if err == nil && again && (v.Decision != DecisionApprove || votes.present < a.Required) {
		err = errAlreadyDecided
	}
	return decisions, votes, err
}

// count settles the approval, if its votes do: one denial does, and so does the vote
// that completes the quorum of people who may still approve.
func (r Request) count(c VoteCommand, votes voteCount, now time.Time) (Transition, error) {
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
	e.Ref = "vote/" + r.ApprovalID + "/" + c.Vote.ID
	e.Detail["approvals"] = fmt.Sprintf("%d of %d", votes.present, max(1, r.RequiredApprovals))
	if c.Vote.Comment != "" {
		e.Detail["comment"] = c.Vote.Comment
	}
	return Transition{Request: r, Record: &Record{Audit: e}}, err
}

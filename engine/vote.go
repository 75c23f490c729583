package engine

import (
	"context"
	"errors"
)

// Vote puts the caller's decision to an approval. It returns CodeSelfApproval,
// CodeCommentRequired, CodeInvalidRequest, CodeAlreadyDecided, CodeNotPending or
// CodeUnavailable.
func (d *Downloads) Vote(ctx context.Context, caller Caller, a Approval, decision Decision, comment string) (Approval, error) {
	v := Vote{ID: NewID("vote"), Actor: caller.Actor(), Decision: decision, Comment: comment}
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
	if _, err := d.Workflows.Vote(ctx, VoteCommand{ProjectID: a.ProjectID, RequestID: a.RequestID, Vote: v, Origin: caller.Origin}); err != nil {
		return a, err
	}
	return d.Store.Approval(ctx, a.ProjectID, a.ID)
}

// Cancel withdraws a request that waits. It returns CodeNotPending or
// CodeUnavailable.
func (d *Downloads) Cancel(ctx context.Context, caller Caller, r Request) (Request, error) {
	w := CancelCommand{ProjectID: r.ProjectID, RequestID: r.ID, Actor: caller.Actor(), Origin: caller.Origin}
	if err := w.CheckCancel(r, d.Clock()); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	return d.Workflows.Cancel(ctx, w)
}

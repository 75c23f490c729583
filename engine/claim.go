package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Claim is an approved request's token on its way to be issued. Token lacks
// only its life: TTLSeconds from when it is issued. Request is the workflow's to
// add.
type Claim struct {
	Request        Request `json:"request"`
	Token          Token   `json:"token"`
	TTLSeconds     int     `json:"ttl_seconds"`
	PolicyRevision string  `json:"policy_revision"`
	Actor          Actor   `json:"actor"`
	Origin         Origin  `json:"origin"`
}

// RefuseClaim tells why the request cannot be claimed at now, or nil. It returns
// CodeNotApproved or CodeNotPending.
func (r Request) RefuseClaim(now time.Time) error {
	switch {
	case r.Status.Ended():
		return Errorf(CodeNotPending, "this request is %s", r.Status)
	case r.Status == StatusPendingApproval && !now.Before(r.ApprovalExpiresAt):
		return Errorf(CodeNotPending, "nobody approved this request by %s", r.ApprovalExpiresAt.Format(time.RFC3339))
	case r.ApprovalID == "" || r.Status == StatusPendingApproval:
		return Errorf(CodeNotApproved, "this request is %s; only an approved one is claimed", r.Status)
	case !now.Before(r.ClaimExpiresAt):
		return Errorf(CodeNotPending, "this request could be claimed until %s", r.ClaimExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// Claim gives the requester the token of an approved request, after asking the
// policy again. A token that was claimed before and not used is revoked. It
// returns CodeNotApproved, CodeNotPending, CodeApprovalMismatch, the code of the
// policy's denial, or CodeUnavailable.
func (d *Downloads) Claim(ctx context.Context, caller Caller, r Request, passphrase Secret) (Minted, error) {
	now := d.Clock()
	if err := r.RefuseClaim(now); err != nil {
		return Minted{}, err
	}
	approval, err := d.Store.Approval(ctx, r.ProjectID, r.ApprovalID)
	if err != nil {
		return Minted{}, fmt.Errorf("claim: %w", err)
	}
	o, token, err := d.order(caller, r, passphrase)
	if err != nil {
		return Minted{}, err
	}
	j, err := d.judge(ctx, o, PolicyClaim, approval.approvals(), now)
	switch {
	case err != nil:
		return Minted{}, err
	case !approval.Permits(j.certificate, o.Token):
		return Minted{}, errMismatch
	case j.Outcome != OutcomeAllow:
		return Minted{}, d.refuseClaim(ctx, caller, r, j.Verdict)
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	issued, err := d.Workflows.Claim(ctx, Claim{
		Token: o.Token, TTLSeconds: min(r.TTLSeconds, j.policy.TokenTTLSeconds), PolicyRevision: j.Revision,
		Actor: caller.Actor(), Origin: caller.Origin,
	})
	if err != nil {
		return Minted{}, err
	}
	return Minted{Request: issued, Token: token}, nil
}

// errMismatch is the answer where people approved something else than what would
// leave now: the certificate behind its id is another, or a record was changed.
var errMismatch = Errorf(CodeApprovalMismatch, "what was approved is not what would leave now; ask anew")

// refuseClaim puts a claim that the policy denied on record.
func (d *Downloads) refuseClaim(ctx context.Context, caller Caller, r Request, v Verdict) error {
	if v.Outcome != OutcomeDeny {
		v.Code = CodePolicyDenied
		v.Explanation = append(v.Explanation, fmt.Sprintf("the policy asks for %d approvals now, more than were given; ask anew", v.RequiredApprovals))
	}
	e := caller.Refusal(d.Clock(), ActionRefused, v.Code)
	e.CertificateID, e.RequestID, e.Format = r.CertificateID, r.ID, r.Format
	e.Detail["policy_revision"] = v.Revision
	d.record(ctx, e)
	r.Code, r.Explanation, r.Remedies = v.Code, v.Explanation, v.Remedies
	return r.refusal()
}

// Issue gives an approved request its token, whose life begins now, and revokes
// the one before it. It returns CodeNotPending if that one ended otherwise.
// Called again with the same token, it comes to the same.
func (d *Downloads) Issue(ctx context.Context, c Claim) (Request, error) {
	now, token, r := d.Clock(), c.Token, c.Request
	found, err := d.Store.Token(ctx, token.Digest)
	switch {
	case err == nil:
		token = found.Token
	case !errors.Is(err, ErrNotFound):
		return r, fmt.Errorf("issue: %w", err)
	default:
		if err := d.withdraw(ctx, c, now); err != nil {
			return r, err
		}
		token.ApprovalID, token.IssuedAt, token.ExpiresAt = r.ApprovalID, now, now.Add(time.Duration(c.TTLSeconds)*time.Second)
	}
	if r, err = r.step(StatusIssued, token.IssuedAt); err != nil {
		return r, fmt.Errorf("issue: %w", err)
	}
	r.TokenDigest, r.ExpiresAt = token.Digest, token.ExpiresAt
	e := r.entry(token.IssuedAt, ActionTokenIssued, c.Actor, c.Origin)
	e.Ref, e.Detail["policy_revision"] = "issue/"+token.Digest, c.PolicyRevision
	if err := d.Store.AdvanceRequest(ctx, Step{Request: r, Token: &token, Record: &Record{Audit: e}}); err != nil {
		return r, fmt.Errorf("issue: %w", err)
	}
	return r, nil
}

// withdraw revokes the token that a new one takes the place of. The attempt is
// the claim's own, so that taking the step again is recognised.
func (d *Downloads) withdraw(ctx context.Context, c Claim, now time.Time) error {
	if c.Request.TokenDigest == "" {
		return nil
	}
	before, err := d.Store.Token(ctx, c.Request.TokenDigest)
	if errors.Is(err, ErrNotFound) {
		return nil // it ended so long ago that its record is gone
	}
	if err != nil {
		return fmt.Errorf("withdraw token: %w", err)
	}
	s := before.settlement(Revoked, c.Actor, c.Origin, now)
	if before.Expired(now) {
		s = before.settlement(Expired, System, Origin{}, now)
	}
	s.Attempt = "claim/" + c.Token.Digest
	winner, won, err := d.Store.Settle(ctx, s, s.record(before.Token))
	if err != nil {
		return fmt.Errorf("withdraw token: %w", err)
	}
	if !won && winner.Kind != Expired {
		return Errorf(CodeNotPending, "the token of this request was %s before", winner.Kind)
	}
	return nil
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Claim is an approved request's token on its way to be issued. Token lacks
// only its life: TTLSeconds from when it is issued.
type ClaimCommand struct {
	Token          Token  `json:"token"`
	TTLSeconds     int    `json:"ttl_seconds"`
	PolicyRevision string `json:"policy_revision"`
	Actor          Actor  `json:"actor"`
	Origin         Origin `json:"origin"`
}

// CheckClaim tells why the request cannot be claimed at now, or nil. It returns
// CodeNotApproved or CodeNotPending.
func (r Request) CheckClaim(now time.Time) error {
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
// returns CodeNotApproved, CodeNotPending, CodeUnknownFormat where the project
// has the format no more, CodeApprovalMismatch, the code of the policy's denial,
// or CodeUnavailable.
func (d *Downloads) Claim(ctx context.Context, caller Caller, r Request, passphrase Secret) (Minted, error) {
	now := d.Clock()
	if err := r.CheckClaim(now); err != nil {
		return Minted{}, err
	}
	if _, err := d.formatIn(r.ProjectID, r.Format); err != nil {
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
	approvals, err := d.countStandingApprovals(ctx, approval)
	if err != nil {
		return Minted{}, err
	}
	j, err := d.evaluatePolicy(ctx, o, PolicyClaim, approvals, now)
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
	issued, err := d.Workflows.Claim(ctx, ClaimCommand{
		Token: o.Token, TTLSeconds: min(r.TTLSeconds, j.policy.TokenTTLSeconds), PolicyRevision: j.Revision,
		Actor: caller.Actor(), Origin: caller.Origin,
	})
	if err != nil {
		return Minted{}, err
	}
	return Minted{Request: issued, Token: token}, nil
}

// standing counts the people who approved and may still approve: whoever lost
// the role since, or was disabled, counts no more.
func (d *Downloads) countStandingApprovals(ctx context.Context, a Approval) (n int, err error) {
	for person := range approvers(a.Requester, a.Decisions) {
		u, err := d.Store.User(ctx, person)
		if err != nil && !errors.Is(err, CodeNotFound) {
			return 0, fmt.Errorf("count approvals: %w", err)
		}
		m, err := d.Store.Member(ctx, a.ProjectID, person)
		if err != nil && !errors.Is(err, CodeNotFound) {
			return 0, fmt.Errorf("count approvals: %w", err)
		}
		if !u.Disabled && (Principal{User: u}).RoleIn(a.ProjectID, m.Role).Includes(RoleApprover) {
			n++
		}
	}
	return n, nil
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
	e := caller.Refusal(d.Clock(), ActionDownloadRefused, v.Code)
	e.CertificateID, e.RequestID, e.Format = r.CertificateID, r.ID, r.Format
	e.Detail["policy_revision"] = v.Revision
	d.record(ctx, e)
	r.Code, r.Explanation, r.Remedies = v.Code, v.Explanation, v.Remedies
	return r.refusal()
}

// Issue gives an approved request its token, whose life begins now, and revokes
// the one before it. It returns CodeNotApproved, or CodeNotPending if that one
// ended otherwise. Called again with the same token, it comes to the same.
func (d *Downloads) Issue(ctx context.Context, c ClaimCommand) (Request, error) {
	return d.advance(ctx, c.Token.ProjectID, c.Token.RequestID, func(r Request, _ Approval, now time.Time) (Transition, error) {
		if r.TokenDigest == c.Token.Digest {
			return Transition{Request: r}, nil
		}
		if err := r.CheckClaim(now); err != nil {
			return Transition{}, err
		}
		if err := d.revokePreviousToken(ctx, r, c, now); err != nil {
			return Transition{}, err
		}
		token := c.Token
		token.ApprovalID, token.IssuedAt, token.ExpiresAt = r.ApprovalID, now, now.Add(time.Duration(c.TTLSeconds)*time.Second)
		r, err := r.become(StatusIssued, now)
		r.TokenDigest, r.ExpiresAt = token.Digest, token.ExpiresAt
		e := r.entry(now, ActionTokenIssued, c.Actor, c.Origin)
		e.Ref, e.Detail["policy_revision"] = "issue/"+token.Digest, c.PolicyRevision
		return Transition{Request: r, Token: &token, Record: &Record{Audit: e}}, err
	})
}

// byClaim marks the attempts of settlements by which a claim takes the place of
// the token before: they end the token, not the request.
const attemptByClaim = "claim/"

// withdraw revokes the token that a new one takes the place of.
func (d *Downloads) revokePreviousToken(ctx context.Context, r Request, c ClaimCommand, now time.Time) error {
	if r.TokenDigest == "" {
		return nil
	}
	before, err := d.Store.Token(ctx, r.TokenDigest)
	if errors.Is(err, CodeNotFound) {
		return nil // it ended so long ago that its record is gone
	}
	if err != nil {
		return fmt.Errorf("withdraw token: %w", err)
	}
	s := before.settlement(Revoked, c.Actor, c.Origin, now)
	if before.Expired(now) {
		s = before.settlement(Expired, System, Origin{}, now)
	}
	s.Attempt = attemptByClaim + c.Token.Digest
	winner, _, err := d.Store.Settle(ctx, s, s.record(before.Token))
	if err != nil {
		return fmt.Errorf("withdraw token: %w", err)
	}
	if winner.Kind == Consumed || winner.Kind == Revoked && !strings.HasPrefix(winner.Attempt, attemptByClaim) {
		return Errorf(CodeNotPending, "the token of this request was %s before", winner.Kind)
	}
	return nil
}

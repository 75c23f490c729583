package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ClaimCommand asks a request's workflow to issue the token of an approved
// request. Token lacks its times: it lives TTLSeconds from when it is issued.
type ClaimCommand struct {
	Token          Token  `json:"token"`
	TTLSeconds     int    `json:"ttl_seconds"`
	PolicyRevision string `json:"policy_revision"`
	Actor          Actor  `json:"actor"`
	Origin         Origin `json:"origin"`
}

// For is the request that the command is for.
func (c ClaimCommand) For() (projectID, requestID string) {
	return c.Token.ProjectID, c.Token.RequestID
}

// DoneIn reports whether the command was carried out already.
func (c ClaimCommand) DoneIn(r Request) bool { return r.TokenDigest == c.Token.Digest }

// MaxClaims is how often the token of one request can be claimed. Each claim adds to the
// history of the request's workflow, which is read again whole.
const MaxClaims = 20

// CheckClaim reports why the request cannot be claimed at now, or nil. It returns
// CodeNotApproved or CodeNotPending.
func (r Request) CheckClaim(now time.Time) error {
	switch {
	case r.Status.Ended():
		return Errorf(CodeNotPending, "this request is %s", r.Status)
	case r.Status == StatusPendingApproval && !now.Before(r.ApprovalExpiresAt):
		return Errorf(CodeNotPending, "this request was not approved before %s", r.ApprovalExpiresAt.Format(time.RFC3339))
	case r.ApprovalID == "" || r.Status == StatusPendingApproval:
		return Errorf(CodeNotApproved, "this request is %s; only an approved request can be claimed", r.Status)
	case !now.Before(r.ClaimExpiresAt):
		return Errorf(CodeNotPending, "this request could be claimed until %s", r.ClaimExpiresAt.Format(time.RFC3339))
	}
	return r.CheckClaims()
}

// CheckClaims returns CodeNotPending for a request that was claimed as often as it can
// be.
func (r Request) CheckClaims() error {
	if r.Claims >= MaxClaims {
		return Errorf(CodeNotPending, "this request was claimed %d times, which is the limit; use the latest token, or make a new request", r.Claims)
	}
	return nil
}

// Claim gives the requester the token of an approved request, after asking the
// policy again. A token that was claimed before and not used is revoked. It
// returns CodeNotApproved, CodeNotPending, CodeUnknownFormat if the project no
// longer has the format, CodeApprovalMismatch, the code of the policy's denial,
// or CodeUnavailable.
func (d *Downloads) Claim(ctx context.Context, caller Caller, r Request, passphrase Secret) (Minted, error) {
	now := d.Clock()
	if err := r.CheckClaim(now); err != nil {
		return Minted{}, err
	}
	if _, err := presentRole(ctx, d.Store, r.ProjectID, r.Requester, now); err != nil {
		return Minted{}, err
	}
	format, err := d.projectFormat(r.ProjectID, r.Format)
	if err != nil {
		return Minted{}, err
	}
	approval, err := d.Store.Approval(ctx, r.ProjectID, r.ApprovalID)
	if err != nil {
		return Minted{}, fmt.Errorf("claim: load approval: %w", err)
	}
	certificate, err := d.Store.Certificate(ctx, r.ProjectID, r.CertificateID)
	if err != nil {
		return Minted{}, fmt.Errorf("claim: load certificate: %w", err)
	}
	policy, err := d.Store.CertificatePolicy(ctx, r.ProjectID)
	if err != nil {
		return Minted{}, fmt.Errorf("claim: load policy: %w", err)
	}
	votes, err := countVotes(ctx, d.Store, r.ProjectID, r.Requester, approval.Decisions)
	if err != nil {
		return Minted{}, err
	}
	in, token, err := d.workflowInput(ctx, caller, r, certificate, format, passphrase)
	if err != nil {
		return Minted{}, err
	}
	verdict := evaluate(ctx, d.Policy, d.Log, in.policyInput(PolicyClaim, policy, votes.present, now))
	switch {
	case !approval.Permits(certificate, in.Token):
		return Minted{}, errMismatch
	case verdict.Outcome != OutcomeAllow:
		return Minted{}, d.refuseClaim(ctx, caller, r, verdict, votes)
	}
	ctx, cancel := context.WithTimeout(ctx, AnswerWithin)
	defer cancel()
	issued, err := d.Workflows.Claim(ctx, ClaimCommand{
		Token: in.Token, TTLSeconds: min(r.TTLSeconds, policy.TokenTTLSeconds), PolicyRevision: verdict.Revision,
		Actor: caller.Actor(), Origin: caller.Origin,
	})
	if err != nil {
		return Minted{}, err
	}
	return Minted{Request: issued, Format: format, Token: token}, nil
}

// errMismatch is the answer when the approved file is not the one that would leave
// now: another certificate has the id, or a record was changed.
var errMismatch = Errorf(CodeApprovalMismatch, "the certificate or the request was changed after the approval; make a new request")

// refuseClaim writes a claim that the policy denied to the audit log.
func (d *Downloads) refuseClaim(ctx context.Context, caller Caller, r Request, v Verdict, votes voteCount) error {
	if v.Outcome != OutcomeDeny {
		v.Code = CodeNoLongerPermitted
		v.Explanation, v.Remedies = append(v.Explanation, votes.shortOf(v.RequiredApprovals)), []string{"Make a new request."}
	}
	e := caller.Refusal(d.Clock(), ActionDownloadRefused, v.Code)
	e.CertificateID, e.RequestID, e.Format = r.CertificateID, r.ID, r.Format
	e.Detail["policy_revision"] = v.Revision
	d.Refusals.Record(ctx, e, caller.User.ID)
	r.Code, r.Explanation, r.Remedies = v.Code, v.Explanation, v.Remedies
	return r.refusal()
}

// Claim issues the token of an approved request, whose life begins now, and
// revokes the token before it. It returns CodeNotApproved, or CodeNotPending if
// the token before it ended otherwise. A token that is issued already changes
// nothing.
func (t *Transitions) Claim(ctx context.Context, c ClaimCommand) (Request, error) {
	return t.advance(ctx, c.Token.ProjectID, c.Token.RequestID, func(r Request, _ Approval, now time.Time) (Transition, error) {
		if c.DoneIn(r) {
			return Transition{Request: r}, nil
		}
		if err := r.CheckClaim(now); err != nil {
			return Transition{}, err
		}
		if err := t.revokePreviousToken(ctx, r, c, now); err != nil {
			return Transition{}, err
		}
		token := c.Token
		token.ApprovalID, token.IssuedAt, token.ExpiresAt = r.ApprovalID, now, now.Add(time.Duration(c.TTLSeconds)*time.Second)
		r, err := r.become(StatusIssued, now)
		r.TokenDigest, r.ExpiresAt, r.Claims = token.Digest, token.ExpiresAt, r.Claims+1
		e := r.entry(now, ActionTokenIssued, c.Actor, c.Origin)
		e.Ref, e.Detail["policy_revision"] = "issue/"+token.Digest, c.PolicyRevision
		return Transition{Request: r, Token: &token, Record: &Record{Audit: e}}, err
	})
}

// attemptByClaim begins the Attempt of a settlement by which a claim replaced a
// token: it ended the token, not the request.
const attemptByClaim = "claim/"

// byClaim reports whether a claim replaced the token.
func (s Settlement) byClaim() bool { return strings.HasPrefix(s.Attempt, attemptByClaim) }

// revokePreviousToken ends the token that the claimed one replaces.
func (t *Transitions) revokePreviousToken(ctx context.Context, r Request, c ClaimCommand, now time.Time) error {
	if r.TokenDigest == "" {
		return nil
	}
	previous, err := t.Store.Token(ctx, r.TokenDigest)
	if errors.Is(err, CodeNotFound) {
		return nil // retention deleted its record long after its end
	}
	if err != nil {
		return fmt.Errorf("load previous token: %w", err)
	}
	s := previous.settlement(Revoked, c.Actor, c.Origin, now)
	if previous.Expired(now) {
		s = previous.settlement(Expired, System, Origin{}, now)
	}
	s.Attempt = attemptByClaim + c.Token.Digest
	winner, _, err := t.Store.Settle(ctx, s, s.record(previous.Token))
	if err != nil {
		return fmt.Errorf("revoke previous token: %w", err)
	}
	if winner.Kind == Consumed || winner.Kind == Revoked && !winner.byClaim() {
		return Errorf(CodeNotPending, "the token of this request is already %s", winner.Kind)
	}
	return nil
}

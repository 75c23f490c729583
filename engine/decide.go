package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Decide asks the policy about an order and stores what it decided, once: called
// again, it returns the first decision, expiry included.
func (d *Downloads) Decide(ctx context.Context, o WorkflowInput) (Request, error) {
	first, err := d.first(ctx, o, d.Clock())
	if err != nil {
		return Request{}, err
	}
	first.Record = first.Request.opened()
	return d.Store.OpenRequest(ctx, first)
}

// first is the first step of a request, as the policy decides it now.
func (d *Downloads) first(ctx context.Context, o WorkflowInput, now time.Time) (Transition, error) {
	r := o.Request
	r.Version, r.UpdatedAt = 1, now
	if now.After(o.AnswerBy) {
		r.Status, r.Code = StatusCancelled, CodeUnavailable
		r.Explanation = []string{"the decision came after the caller had gone"}
		return Transition{Request: r}, nil
	}
	j, err := d.evaluatePolicy(ctx, o, PolicyMint, 0, now)
	if err != nil {
		return Transition{}, err
	}
	r.Explanation, r.PolicyRevision = j.Explanation, j.Revision
	switch j.Outcome {
	case OutcomeAllow:
		token := o.Token
		token.IssuedAt, token.ExpiresAt = now, now.Add(time.Duration(r.TTLSeconds)*time.Second)
		r.Status, r.TokenDigest, r.ExpiresAt = StatusIssued, token.Digest, token.ExpiresAt
		return Transition{Request: r, Token: &token}, nil
	case OutcomeApproval:
		r.Status, r.ApprovalID = StatusPendingApproval, "apr_"+strings.TrimPrefix(r.ID, "req_")
		r.RequiredApprovals = max(1, j.RequiredApprovals)
		r.ApprovalExpiresAt = now.Add(time.Duration(j.policy.Approval.TTLSeconds) * time.Second)
		r.ClaimWindowSeconds = j.policy.Approval.ClaimWindowSeconds
		return Transition{Request: r, Approval: approvalOf(r, j.certificate)}, nil
	}
	r.Status, r.Code, r.Remedies = StatusDenied, j.Code, j.Remedies
	return Transition{Request: r}, nil
}

// judgement is a verdict with what it was made from.
type policyDecision struct {
	Verdict
	certificate Certificate
	policy      CertificatePolicy
}

// judge asks the policy. What cannot be evaluated is denied; what cannot be read
// is an error, so that the caller tries again.
func (d *Downloads) evaluatePolicy(ctx context.Context, o WorkflowInput, action string, approvals int, now time.Time) (j policyDecision, err error) {
	if j.certificate, err = d.Store.Certificate(ctx, o.Request.ProjectID, o.Request.CertificateID); err != nil {
		return j, fmt.Errorf("ask the policy: %w", err)
	}
	if j.policy, err = d.Store.CertificatePolicy(ctx, o.Request.ProjectID); err != nil {
		return j, fmt.Errorf("ask the policy: %w", err)
	}
	in := policyInput(o, j.certificate, j.policy)
	in.Action, in.Time, in.Passphrase, in.Approvals = action, now, &o.Passphrase, approvals
	if format, ok := d.Formats.Format(o.Request.Format); ok {
		in.Format.NeedsPassphrase = format.NeedsPassphrase
	}
	j.Verdict = d.evaluate(ctx, in)
	return j, nil
}

// evaluate fails closed.
func (d *Downloads) evaluate(ctx context.Context, in PolicyInput) Verdict {
	verdict, err := d.Policy.Evaluate(ctx, in)
	if err != nil {
		d.Log.ErrorContext(ctx, "the policy could not be evaluated", "revision", d.Policy.Revision(), "error", err)
		return Verdict{Outcome: OutcomeDeny, Code: CodePolicyDenied, Revision: d.Policy.Revision(),
			Explanation: []string{"the policy could not be evaluated, so the request is denied"}}
	}
	return verdict
}

func policyInput(o WorkflowInput, c Certificate, policy CertificatePolicy) PolicyInput {
	r := o.Request
	in := PolicyInput{
		Actor:   PolicyActor{Actor: r.Requester, Role: o.Role},
		Project: PolicyProject{ID: r.ProjectID, Name: o.ProjectName},
		Certificate: PolicyCertificate{
			ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: c.SANs, Issuer: c.Issuer, KeyAlgorithm: c.KeyAlgorithm,
			HasPrivateKey: c.HasPrivateKey, Fingerprint: c.Fingerprint, NotAfter: c.NotAfter,
		},
		Format:  PolicyFormat{ID: r.Format, ContainsKey: r.ContainsKey},
		Options: map[string]any{},
		Policy:  policy, Reason: r.Reason, TTLSeconds: r.TTLSeconds, BindIP: r.BindIP,
	}
	if err := json.Unmarshal([]byte(r.Options), &in.Options); err != nil {
		// Rules about options must not pass over what they cannot see.
		in.Options = map[string]any{"unreadable": r.Options}
	}
	return in
}

// Evaluate answers what a mint would meet, without passphrase. It decides and
// writes nothing.
func (d *Downloads) Evaluate(ctx context.Context, caller Caller, c Certificate, format string, options map[string]any) (Verdict, error) {
	policy, err := d.Store.CertificatePolicy(ctx, caller.Project.ID)
	if err != nil {
		return Verdict{}, err
	}
	r := Request{ProjectID: caller.Project.ID, Requester: caller.Actor(), TTLSeconds: policy.TokenTTLSeconds}
	f, err := d.applicable(format, options, c, &r.Options)
	if err != nil {
		return Verdict{}, err
	}
	r.Format, r.ContainsKey = f.ID, f.ContainsKey
	in := policyInput(WorkflowInput{Request: r, Role: caller.Role, ProjectName: caller.Project.Name}, c, policy)
	in.Action, in.Time, in.Format.NeedsPassphrase = PolicyEvaluate, d.Clock(), f.NeedsPassphrase
	return d.evaluate(ctx, in), nil
}

// opened is what goes on record with the first decision.
func (r Request) opened() *Record {
	e := r.entry(r.UpdatedAt, ActionDownloadRequested, r.Requester, Origin{IP: r.IP, UserAgent: r.UserAgent})
	e.Ref, e.Detail["policy_revision"] = "request/"+r.ID, r.PolicyRevision
	if r.Reason != "" {
		e.Detail["reason"] = r.Reason
	}
	if r.Code != "" {
		e.Outcome, e.Detail["code"] = AuditRefused, string(r.Code)
	}
	return &Record{Audit: e}
}

// refusal is the error in which an undelivered decision reaches the caller.
func (r Request) refusal() error {
	e := Errorf(r.Code, "%s", strings.Join(r.Explanation, "; ")).With("request_id", r.ID)
	if len(r.Remedies) > 0 {
		e = e.With("remedies", r.Remedies)
	}
	return e
}

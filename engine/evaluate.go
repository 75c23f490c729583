package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// EvaluatePolicy asks the policy about a new request and stores what it decided,
// once: called again, it returns the first decision, with its times. A request
// that is allowed has its token issued in the same write.
func (t *Transitions) EvaluatePolicy(ctx context.Context, in WorkflowInput) (Request, error) {
	first, err := t.decide(ctx, in, t.Clock())
	if err != nil {
		return Request{}, err
	}
	first.Record = first.Request.opened()
	return t.Store.OpenRequest(ctx, first.describe())
}

// decide is the first transition of a request, as the policy decides it now.
func (t *Transitions) decide(ctx context.Context, in WorkflowInput, now time.Time) (Transition, error) {
	r := in.Request
	r.Version, r.UpdatedAt = 1, now
	if now.After(in.AnswerBy) {
		r.Status, r.Code = StatusCancelled, CodeUnavailable
		r.Explanation = []string{"the decision came after the caller had stopped waiting"}
		return Transition{Request: r}, nil
	}
	policy, err := t.Store.CertificatePolicy(ctx, r.ProjectID)
	if err != nil {
		return Transition{}, fmt.Errorf("load policy: %w", err)
	}
	v := evaluate(ctx, t.Policy, t.Log, in.policyInput(PolicyMint, policy, 0, now))
	r.Explanation, r.PolicyRevision = v.Explanation, v.Revision
	switch v.Outcome {
	case OutcomeAllow:
		token := in.Token
		token.IssuedAt, token.ExpiresAt = now, now.Add(time.Duration(r.TTLSeconds)*time.Second)
		r.Status, r.TokenDigest, r.ExpiresAt = StatusIssued, token.Digest, token.ExpiresAt
		return Transition{Request: r, Token: &token}, nil
	case OutcomeApproval:
		r.Status, r.ApprovalID = StatusPendingApproval, "apr_"+strings.TrimPrefix(r.ID, "req_")
		r.RequiredApprovals = max(1, v.RequiredApprovals)
		r.ApprovalExpiresAt = now.Add(time.Duration(policy.Approval.TTLSeconds) * time.Second)
		r.ClaimWindowSeconds = policy.Approval.ClaimWindowSeconds
		return Transition{Request: r, Approval: approvalOf(r, in.Certificate)}, nil
	}
	r.Status, r.Code, r.Remedies = StatusDenied, v.Code, v.Remedies
	return Transition{Request: r}, nil
}

// Evaluate returns the policy's verdict on a download, without checking a passphrase.
// It writes nothing.
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
	in := WorkflowInput{Request: r, Role: caller.Role, ProjectName: caller.Project.Name, Certificate: c.forPolicy(), NeedsPassphrase: f.NeedsPassphrase}
	question := in.policyInput(PolicyEvaluate, policy, 0, d.Clock())
	question.Passphrase = nil
	return evaluate(ctx, d.Policy, d.Log, question), nil
}

// evaluate asks the policy. A policy that fails denies.
func evaluate(ctx context.Context, policy Policy, log *slog.Logger, in PolicyInput) Verdict {
	verdict, err := policy.Evaluate(ctx, in)
	if err != nil {
		log.ErrorContext(ctx, "the policy could not be evaluated, so the request is denied", "revision", policy.Revision(), "error", err)
		return Verdict{Outcome: OutcomeDeny, Code: CodePolicyDenied, Revision: policy.Revision(),
			Explanation: []string{"the policy could not be evaluated, so the request is denied"}}
	}
	return verdict
}

// policyInput is what the policy decides from.
func (in WorkflowInput) policyInput(action string, policy CertificatePolicy, approvals int, now time.Time) PolicyInput {
	r := in.Request
	question := PolicyInput{
		Action:      action,
		Actor:       PolicyActor{Actor: r.Requester, Role: in.Role},
		Project:     PolicyProject{ID: r.ProjectID, Name: in.ProjectName},
		Certificate: in.Certificate,
		Format:      PolicyFormat{ID: r.Format, ContainsKey: r.ContainsKey, NeedsPassphrase: in.NeedsPassphrase},
		Options:     map[string]any{},
		Passphrase:  &in.Passphrase,
		Policy:      policy, Reason: r.Reason, TTLSeconds: r.TTLSeconds, BindIP: r.BindIP,
		Approvals: approvals, Time: now,
	}
	if err := json.Unmarshal([]byte(r.Options), &question.Options); err != nil {
		// A rule about options must not pass because it cannot read them.
		question.Options = map[string]any{"unreadable": r.Options}
	}
	return question
}

// forPolicy is the certificate as rules and approvers see it.
func (c Certificate) forPolicy() PolicyCertificate {
	return PolicyCertificate{
		ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: c.SANs, Issuer: c.Issuer, KeyAlgorithm: c.KeyAlgorithm,
		HasPrivateKey: c.HasPrivateKey, Fingerprint: c.Fingerprint, NotAfter: c.NotAfter,
	}
}

// opened is the record of the first decision.
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

// refusal is the error by which a caller learns that the policy denied the
// request.
func (r Request) refusal() error {
	e := Errorf(r.Code, "%s", strings.Join(r.Explanation, "; ")).With("request_id", r.ID)
	if len(r.Remedies) > 0 {
		e = e.With("remedies", r.Remedies)
	}
	return e
}

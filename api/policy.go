package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// policyReader reads certificate policies.
type policyReader interface {
	CertificatePolicy(ctx context.Context, projectID string) (engine.CertificatePolicy, error)
}

type policyOutput struct {
	ETag string `header:"ETag"`
	Body wire.Policy
}

type policyInput struct {
	IfMatch string `header:"If-Match" maxLength:"100" doc:"The ETag of the policy that you changed; 412 if another caller changed it meanwhile"`
	Body    wire.Policy
}

type evaluateInput struct{ Body wire.EvaluateBody }

type verdictOutput struct{ Body wire.Verdict }

func (s *Server) policyEndpoints() {
	register(s, endpoint{
		id: "get-policy", method: http.MethodGet, path: base + "/projects/{pid}/certificate-policy", access: role(engine.RoleViewer), tag: "Policy",
		summary: "Read the certificate policy",
	}, s.getPolicy)
	register(s, endpoint{
		id: "set-policy", method: http.MethodPut, path: base + "/projects/{pid}/certificate-policy", access: role(engine.RoleAdmin), tag: "Policy",
		summary: "Replace the certificate policy", errors: []int{http.StatusPreconditionFailed},
	}, s.setPolicy)
	register(s, endpoint{
		id: "evaluate-policy", method: http.MethodPost, path: base + "/projects/{pid}/certificate-policy/evaluate",
		access: role(engine.RoleOperator), tag: "Policy",
		summary: "Evaluate the policy for a download", description: "Returns the policy's verdict on a download request, without making the request. Nothing is stored.",
	}, s.evaluate)
}

func (s *Server) getPolicy(ctx context.Context, k *call, _ *struct{}) (*policyOutput, error) {
	p, err := s.store.CertificatePolicy(ctx, k.Project.ID)
	return toPolicy(p), err
}

func (s *Server) setPolicy(ctx context.Context, k *call, in *policyInput) (*policyOutput, error) {
	p, err := s.admin.SetPolicy(ctx, k.Caller, fromPolicy(in.Body), in.IfMatch)
	return toPolicy(p), err
}

func (s *Server) evaluate(ctx context.Context, k *call, in *evaluateInput) (*verdictOutput, error) {
	c, err := s.store.Certificate(ctx, k.Project.ID, in.Body.CertificateID)
	if errors.Is(err, engine.CodeNotFound) {
		return nil, engine.Errorf(engine.CodeNotFound, "certificate_id names no certificate of this project")
	}
	if err != nil {
		return nil, err
	}
	v, err := s.downloads.Evaluate(ctx, k.Caller, c, in.Body.Format, in.Body.Options)
	if err != nil {
		return nil, err
	}
	rules := make([]wire.RuleResult, len(v.Rules))
	for i, r := range v.Rules {
		rules[i] = wire.RuleResult{
			Kind: string(r.Kind), Code: string(r.Code), Why: r.Why, Remedies: texts(r.Remedies), RequiredApprovals: r.RequiredApprovals,
		}
	}
	return &verdictOutput{wire.Verdict{
		Outcome: string(v.Outcome), Code: string(v.Code), Explanation: texts(v.Explanation), Remedies: texts(v.Remedies),
		RequiredApprovals: v.RequiredApprovals, PolicyRevision: v.Revision, Rules: rules,
	}}, nil
}

func toPolicy(p engine.CertificatePolicy) *policyOutput {
	return &policyOutput{ETag: p.ETag(), Body: wire.Policy{
		AllowKeyExport: p.AllowKeyExport,
		Approval: wire.ApprovalRule{
			Mode: string(p.Approval.Mode), RequiredApprovals: p.Approval.RequiredApprovals,
			TTLSeconds: p.Approval.TTLSeconds, ClaimWindowSeconds: p.Approval.ClaimWindowSeconds,
		},
		TokenTTLSeconds: p.TokenTTLSeconds, MinPassphraseLength: p.MinPassphraseLength, AllowLegacyEncryption: p.AllowLegacyEncryption,
	}}
}

func fromPolicy(p wire.Policy) engine.CertificatePolicy {
	return engine.CertificatePolicy{
		AllowKeyExport: p.AllowKeyExport,
		Approval: engine.ApprovalRule{
			Mode: engine.ApprovalMode(p.Approval.Mode), RequiredApprovals: p.Approval.RequiredApprovals,
			TTLSeconds: p.Approval.TTLSeconds, ClaimWindowSeconds: p.Approval.ClaimWindowSeconds,
		},
		TokenTTLSeconds: p.TokenTTLSeconds, MinPassphraseLength: p.MinPassphraseLength, AllowLegacyEncryption: p.AllowLegacyEncryption,
	}
}

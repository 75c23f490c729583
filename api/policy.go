package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type policyOutput struct {
	ETag string `header:"ETag"`
	Body wire.Policy
}

type policyInput struct {
	IfMatch string `header:"If-Match" maxLength:"100" doc:"The ETag of the policy that was changed; 412 if another came between"`
	Body    wire.Policy
}

type evaluateInput struct{ Body wire.EvaluateBody }

type verdictOutput struct{ Body wire.Verdict }

func (s *Server) policyEndpoints() {
	path := base + "/projects/{pid}/certificate-policy"
	e := endpoint{
		id: "get-policy", method: http.MethodGet, path: path, tag: "Policy", summary: "Read the certificate policy",
		access: access{role: engine.RoleViewer},
	}
	register(s, e, func(ctx context.Context, k *call, _ *struct{}) (*policyOutput, error) {
		p, err := s.store.CertificatePolicy(ctx, k.Project.ID)
		return toPolicy(p), err
	})
	e.id, e.method, e.summary, e.access.role = "set-policy", http.MethodPut, "Replace the certificate policy", engine.RoleAdmin
	e.errors = []int{http.StatusPreconditionFailed}
	register(s, e, func(ctx context.Context, k *call, in *policyInput) (*policyOutput, error) {
		p, err := s.admin.SetPolicy(ctx, k.Caller, fromPolicy(in.Body), in.IfMatch)
		return toPolicy(p), err
	})
	register(s, endpoint{
		id: "evaluate-policy", method: http.MethodPost, path: path + "/evaluate", tag: "Policy",
		summary: "Tell what a mint would meet", description: "Decides nothing and writes nothing.",
		access: access{role: engine.RoleOperator},
	}, s.evaluate)
}

func (s *Server) evaluate(ctx context.Context, k *call, in *evaluateInput) (*verdictOutput, error) {
	c, err := s.store.Certificate(ctx, k.Project.ID, in.Body.CertificateID)
	if errors.Is(err, engine.CodeNotFound) {
		return nil, engine.Errorf(engine.CodeNotFound, "there is no certificate of this certificate_id")
	}
	if err != nil {
		return nil, err
	}
	v, err := s.downloads.Evaluate(ctx, k.Caller, c, in.Body.Format, in.Body.Options)
	if err != nil {
		return nil, err
	}
	rules := make([]wire.RuleSaid, len(v.Rules))
	for i, r := range v.Rules {
		rules[i] = wire.RuleSaid{
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

package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type approvalsInput struct {
	Paging
	Status string `query:"status" doc:"Only approvals in this state; settled: in any but pending"`
}

// voteInput has a body that may be left out.
type voteInput struct{ Body *wire.VoteBody }

type approvalOutput struct{ Body wire.Approval }

func (s *Server) approvalEndpoints() {
	path := base + "/projects/{pid}/approvals"
	e := endpoint{
		id: "list-approvals", method: http.MethodGet, path: path, tag: "Approvals", summary: "List approvals",
		description: "An approver and an admin see all, an operator those of their own requests.", access: access{role: engine.RoleOperator},
	}
	register(s, e, s.approvals)
	e.id, e.path, e.summary = "get-approval", path+"/{aid}", "Read an approval"
	register(s, e, func(_ context.Context, k *call, _ *struct{}) (*approvalOutput, error) {
		return &approvalOutput{toApproval(k.approval)}, nil
	})
	e.access.role, e.errors = engine.RoleApprover, []int{http.StatusConflict}
	e.description = "Never the requester, by whatever key or session: 403 self_approval. A second decision by the same person is 409 already_decided, " +
		"on a settled approval 409 not_pending."
	e.id, e.method, e.path, e.summary = "approve", http.MethodPost, path+"/{aid}/approve", "Approve a download"
	register(s, e, s.vote(engine.DecisionApprove))
	e.id, e.path, e.summary = "deny", path+"/{aid}/deny", "Deny a download, with a comment"
	register(s, e, s.vote(engine.DecisionDeny))
}

func (s *Server) approvals(ctx context.Context, k *call, in *approvalsInput) (*listing[wire.Approval], error) {
	q := engine.ApprovalQuery{ProjectID: k.Project.ID, Page: in.page()}
	switch status := engine.ApprovalStatus(in.Status); {
	case status == "settled":
		q.Settled = true
	case status == "" || status.Valid():
		q.Status = status
	default:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "status is neither one of the states of an approval nor settled")
	}
	if !k.Role.Includes(engine.RoleApprover) {
		q.Person = k.User.ID
	}
	found, next, err := s.store.Approvals(ctx, q)
	if err != nil {
		return nil, err
	}
	return listed(found, next, toApproval), nil
}

func (s *Server) vote(decision engine.Decision) func(context.Context, *call, *voteInput) (*approvalOutput, error) {
	return func(ctx context.Context, k *call, in *voteInput) (*approvalOutput, error) {
		comment := ""
		if in.Body != nil {
			comment = in.Body.Comment
		}
		decided, err := s.downloads.Vote(ctx, k.Caller, k.approval, decision, comment)
		outcome(s.metrics.votes, string(decision), err)
		if err != nil {
			return nil, err
		}
		return &approvalOutput{toApproval(decided)}, nil
	}
}

func toApproval(a engine.Approval) wire.Approval {
	decisions := make([]wire.Decision, 0, len(a.Decisions))
	for _, v := range a.Decisions {
		decisions = append(decisions, wire.Decision{Actor: toRequester(v.Actor), Decision: string(v.Decision), Comment: v.Comment, Time: v.Time})
	}
	c := a.Certificate
	return wire.Approval{
		ID: a.ID, Kind: a.Kind, Status: string(a.Status), RequestID: a.RequestID, Requester: toRequester(a.Requester),
		Certificate: wire.ApprovalCertificate{ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: texts(c.SANs), FingerprintSHA256: c.Fingerprint, NotAfter: c.NotAfter},
		Format:      a.Format, Filename: a.Filename, ContainsKey: a.ContainsKey, Options: optionsOf(a.Options), Reason: a.Reason,
		Digest: a.Digest, RequiredApprovals: a.Required, Decisions: decisions, CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt,
	}
}

package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// approvalReader reads approvals.
type approvalReader interface {
	Approval(ctx context.Context, projectID, id string) (engine.Approval, error)
	Approvals(ctx context.Context, q engine.ApprovalQuery) ([]engine.Approval, string, error)
}

type approvalsInput struct {
	Paging
	Status string `query:"status" doc:"Only approvals in this state; settled means every state except pending"`
}

// voteInput has a body that may be left out.
type voteInput struct{ Body *wire.VoteBody }

type approvalOutput struct{ Body wire.Approval }

const voteDescription = "Requesters cannot vote on their own request, whatever key or session they use: 403 self_approval. " +
	"A second vote of the same person is 409 already_decided; a vote on a settled approval is 409 not_pending."

func (s *Server) approvalEndpoints() {
	register(s, endpoint{
		id: "list-approvals", method: http.MethodGet, path: base + "/projects/{pid}/approvals", access: role(engine.RoleOperator), tag: "Approvals",
		summary: "List approvals", description: "Approvers and admins see all approvals, operators those of their own requests.",
	}, s.listApprovals)
	register(s, endpoint{
		id: "get-approval", method: http.MethodGet, path: base + "/projects/{pid}/approvals/{aid}", access: role(engine.RoleOperator), tag: "Approvals",
		summary: "Read an approval", description: "Approvers and admins see all approvals, operators those of their own requests.",
	}, s.getApproval)
	register(s, endpoint{
		id: "approve", load: minting, method: http.MethodPost, path: base + "/projects/{pid}/approvals/{aid}/approve", access: role(engine.RoleApprover), tag: "Approvals",
		summary: "Approve a download", description: voteDescription, errors: []int{http.StatusConflict},
	}, s.vote(engine.DecisionApprove))
	register(s, endpoint{
		id: "deny", load: minting, method: http.MethodPost, path: base + "/projects/{pid}/approvals/{aid}/deny", access: role(engine.RoleApprover), tag: "Approvals",
		summary: "Deny a download, with a comment", description: voteDescription, errors: []int{http.StatusConflict},
	}, s.vote(engine.DecisionDeny))
}

func (s *Server) getApproval(ctx context.Context, k *call, _ *struct{}) (*approvalOutput, error) {
	return s.wholeApproval(ctx, k.approval)
}

// wholeApproval shows an approval with everything that approvers decide on, of which
// the approval itself holds a summary.
func (s *Server) wholeApproval(ctx context.Context, a engine.Approval) (*approvalOutput, error) {
	c, err := s.store.Certificate(ctx, a.ProjectID, a.Certificate.ID)
	if err != nil {
		return nil, fmt.Errorf("read certificate of approval: %w", err)
	}
	void, err := s.downloads.VoidVotes(ctx, a)
	if err != nil {
		return nil, err
	}
	a.Certificate.Subject, a.Certificate.SANs = c.Subject, c.SANs
	out := toApproval(a)
	out.Certificate.Issuer, out.Certificate.Warnings = c.Issuer, c.Warnings
	for i, v := range a.Decisions {
		out.Decisions[i].Void = void[v.ID]
	}
	return &approvalOutput{out}, nil
}

func (s *Server) listApprovals(ctx context.Context, k *call, in *approvalsInput) (*listing[wire.Approval], error) {
	q := engine.ApprovalQuery{ProjectID: k.Project.ID, Page: in.page()}
	switch status := engine.ApprovalStatus(in.Status); {
	case status == "settled":
		q.Settled = true
	case status == "" || status.Valid():
		q.Status = status
	default:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "status is not a state of an approval; give pending, approved, denied, expired, cancelled or settled")
	}
	if !k.Role.Includes(engine.RoleApprover) {
		q.Person = k.User.ID
	}
	found, next, err := s.store.Approvals(ctx, q)
	if err != nil {
		return nil, err
	}
	return listed(found, next, toListedApproval), nil
}

func (s *Server) vote(decision engine.Decision) func(context.Context, *call, *voteInput) (*approvalOutput, error) {
	return func(ctx context.Context, k *call, in *voteInput) (*approvalOutput, error) {
		comment := ""
		if in.Body != nil {
			comment = in.Body.Comment
		}
		decided, err := s.downloads.Vote(ctx, k.Caller, k.approval, decision, comment)
		countOutcome(s.metrics.votes, string(decision), err)
		if err != nil {
			return nil, err
		}
		return s.wholeApproval(ctx, decided)
	}
}

// toListedApproval has a summary of the certificate's names.
func toListedApproval(a engine.Approval) wire.Approval {
	listed := toApproval(a)
	c := a.Certificate
	listed.Certificate.Subject = engine.TextSummary(c.Subject)
	listed.Certificate.SANs, listed.Certificate.SANCount = engine.NamesSummary(c.SANs), max(c.SANCount, len(c.SANs))
	return listed
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
		Digest: a.Digest, RequiredApprovals: a.Required, Decisions: decisions, QuorumNote: a.QuorumNote, CreatedAt: a.CreatedAt, ExpiresAt: a.ExpiresAt,
	}
}

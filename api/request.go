package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type requestsInput struct {
	Paging
	Status        string    `query:"status" doc:"Only requests in this state"`
	CertificateID string    `query:"certificate_id" doc:"Only requests for this certificate"`
	Requester     string    `query:"requester" doc:"Only requests of this person, by their user's id"`
	Before        time.Time `query:"before" doc:"Only requests made before this time, such as another's created_at"`
}

type requestOutput struct{ Body wire.Request }

type claimInput struct{ Body wire.ClaimBody }

func (s *Server) requestEndpoints() {
	path := base + "/projects/{pid}/requests"
	e := endpoint{
		id: "list-requests", method: http.MethodGet, path: path, tag: "Requests", summary: "List download requests",
		description: "An operator sees their own, an approver and an admin all.", access: access{role: engine.RoleOperator},
	}
	register(s, e, s.requests)
	e.id, e.path, e.summary = "get-request", path+"/{rid}", "Read a download request"
	register(s, e, func(_ context.Context, k *call, _ *struct{}) (*requestOutput, error) {
		return &requestOutput{toRequest(k.request)}, nil
	})
	e.errors, e.access.own = []int{http.StatusConflict}, true
	e.id, e.method, e.path, e.summary = "claim", http.MethodPost, path+"/{rid}/token", "Claim the token of an approved request"
	e.description = "For the requester, after approval and within the window; the policy is asked again, and a token claimed before and not used is revoked. 409 not_approved until the request is approved, not_pending once it ended or the window has passed."
	e.status, e.responses = http.StatusCreated, s.claimResponses()
	register(s, e, s.claim)
	e.status, e.responses = 0, nil
	e.id, e.path, e.summary = "cancel", path+"/{rid}/cancel", "Cancel a request that waits"
	e.description = "For the requester. 409 not_pending unless the request waits for approval or to be claimed."
	register(s, e, s.cancel)
	e.access.own = false
	e.id, e.method, e.path, e.summary = "revoke", http.MethodDelete, path+"/{rid}/token", "Revoke an unconsumed token"
	e.description = "For the requester and admins. 409 not_pending once the token ended."
	register(s, e, s.revoke)
}

func (s *Server) requests(ctx context.Context, k *call, in *requestsInput) (*listing[wire.Request], error) {
	person := in.Requester
	if !k.Role.Includes(engine.RoleApprover) {
		if person != "" && person != k.User.ID {
			return nil, engine.Errorf(engine.CodeForbidden, "an operator sees their own requests only")
		}
		person = k.User.ID
	}
	if in.Status != "" && !engine.Status(in.Status).Valid() {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "status is not one of the states of a request")
	}
	page, err := in.page().Before(in.Before)
	if err != nil {
		return nil, err
	}
	found, next, err := s.store.Requests(ctx, engine.RequestQuery{
		ProjectID: k.Project.ID, Person: person, Status: engine.Status(in.Status), CertificateID: in.CertificateID, Page: page,
	})
	if err != nil {
		return nil, err
	}
	return listed(found, next, toRequest), nil
}

// requesterOnly refuses whoever did not make the request.
func requesterOnly(k *call) error {
	if k.request.Requester.Person != k.User.ID {
		return engine.Errorf(engine.CodeForbidden, "only the requester may do this")
	}
	return nil
}

func (s *Server) claim(ctx context.Context, k *call, in *claimInput) (*mintOutput, error) {
	minted, err := s.downloads.Claim(ctx, k.Caller, k.request, engine.Secret(in.Body.Passphrase))
	if err != nil {
		outcome(s.metrics.claims, "", err)
		return nil, err
	}
	outcome(s.metrics.claims, string(minted.Request.Status), nil)
	return issued(k, minted), nil
}

func (s *Server) cancel(ctx context.Context, k *call, _ *struct{}) (*requestOutput, error) {
	r, err := s.downloads.Cancel(ctx, k.Caller, k.request)
	if err != nil {
		return nil, err
	}
	return &requestOutput{toRequest(r)}, nil
}

func (s *Server) revoke(ctx context.Context, k *call, _ *struct{}) (*struct{}, error) {
	if !k.Role.Includes(engine.RoleAdmin) {
		if err := requesterOnly(k); err != nil {
			return nil, err
		}
	}
	return nil, s.downloads.Revoke(ctx, k.Caller, k.request)
}

func toActor(a engine.Actor) wire.Actor { return wire.Actor{Type: a.Type, ID: a.ID, Name: a.Name} }

func toRequester(a engine.Actor) wire.Requester {
	return wire.Requester{Actor: toActor(a), Person: a.Person, Username: a.Username}
}

func toRequest(r engine.Request) wire.Request {
	return wire.Request{
		ID: r.ID, Status: string(r.Status), CertificateID: r.CertificateID, Format: r.Format, Filename: r.Filename,
		Options: optionsOf(r.Options), Requester: toRequester(r.Requester), Reason: r.Reason, TTLSeconds: r.TTLSeconds, BindIP: r.BindIP,
		Code: string(r.Code), Explanation: texts(r.Explanation), Remedies: texts(r.Remedies), PolicyRevision: r.PolicyRevision,
		CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ExpiresAt: wire.Instant(r.ExpiresAt),
		ApprovalID: r.ApprovalID, RequiredApprovals: r.RequiredApprovals,
		ApprovalExpiresAt: wire.Instant(r.ApprovalExpiresAt), ClaimExpiresAt: wire.Instant(r.ClaimExpiresAt),
	}
}

// optionsOf decodes options from their stored form.
func optionsOf(canonical string) map[string]any {
	options := map[string]any{}
	if err := json.Unmarshal([]byte(canonical), &options); err != nil {
		return map[string]any{} // stored before options were checked; nothing to show
	}
	return options
}

// texts is a list as JSON shows it: never null.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

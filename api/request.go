package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// downloadRequestReader reads download requests.
type downloadRequestReader interface {
	Request(ctx context.Context, projectID, id string) (engine.Request, error)
	Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error)
}

type requestsInput struct {
	Paging
	Status        string    `query:"status" doc:"Only requests in this state"`
	CertificateID string    `query:"certificate_id" doc:"Only requests for this certificate"`
	Requester     string    `query:"requester" doc:"Only requests of this user, by id"`
	Before        time.Time `query:"before" doc:"Only requests made before this time, such as another's created_at"`
}

type requestOutput struct{ Body wire.Request }

func (s *Server) requestEndpoints() {
	register(s, endpoint{
		id: "list-requests", method: http.MethodGet, path: base + "/projects/{pid}/requests", access: role(engine.RoleOperator), tag: "Requests",
		summary: "List download requests", description: "Operators see their own requests, approvers and admins see all.",
	}, s.listRequests)
	register(s, endpoint{
		id: "get-request", method: http.MethodGet, path: base + "/projects/{pid}/requests/{rid}", access: role(engine.RoleOperator), tag: "Requests",
		summary: "Read a download request", description: "Operators see their own requests, approvers and admins see all.",
	}, s.getRequest)
	register(s, endpoint{
		id: "cancel", load: minting, method: http.MethodPost, path: base + "/projects/{pid}/requests/{rid}/cancel",
		access: role(engine.RoleOperator).onlyRequester(), tag: "Requests",
		summary: "Cancel a waiting request", description: "For the requester. 409 not_pending unless the request waits for approval or for its claim.",
		errors: []int{http.StatusConflict},
	}, s.cancel)
}

func (s *Server) getRequest(_ context.Context, k *call, _ *struct{}) (*requestOutput, error) {
	return &requestOutput{toRequest(k.request)}, nil
}

func (s *Server) listRequests(ctx context.Context, k *call, in *requestsInput) (*listing[wire.Request], error) {
	person := in.Requester
	if !k.Role.Includes(engine.RoleApprover) {
		if person != "" && person != k.User.ID {
			return nil, engine.Errorf(engine.CodeForbidden, "an operator sees only their own requests")
		}
		person = k.User.ID
	}
	if in.Status != "" && !engine.Status(in.Status).Valid() {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "status is not a state of a request; give one such as pending_approval, issued or consumed")
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

func (s *Server) cancel(ctx context.Context, k *call, _ *struct{}) (*requestOutput, error) {
	r, err := s.downloads.Cancel(ctx, k.Caller, k.request)
	if err != nil {
		return nil, err
	}
	return &requestOutput{toRequest(r)}, nil
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
		ApprovalID: r.ApprovalID, RequiredApprovals: r.RequiredApprovals, QuorumNote: r.QuorumNote,
		ApprovalExpiresAt: wire.Instant(r.ApprovalExpiresAt), ClaimExpiresAt: wire.Instant(r.ClaimExpiresAt),
	}
}

// optionsOf decodes the stored form of options.
func optionsOf(canonical string) map[string]any {
	options := map[string]any{}
	if err := json.Unmarshal([]byte(canonical), &options); err != nil {
		return map[string]any{} // the engine stores valid JSON only; show nothing if it is damaged
	}
	return options
}

// texts makes an empty list of nil, which JSON would show as null.
func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

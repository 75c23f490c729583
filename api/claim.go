package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type claimInput struct{ Body wire.ClaimBody }

// claimEndpoints are about the token of a request: its requester claims it and may
// revoke it.
func (s *Server) claimEndpoints() {
	register(s, endpoint{
		id: "claim", load: minting, method: http.MethodPost, path: base + "/projects/{pid}/requests/{rid}/token",
		access: role(engine.RoleOperator).onlyRequester(), tag: "Requests",
		summary: "Claim the token of an approved request",
		description: "For the requester, after approval and within the claim window. The policy is evaluated again, and a token that was claimed before " +
			"and not consumed is revoked. 409 not_approved until the request is approved; 409 not_pending after it ended or the window passed.",
		status: http.StatusCreated, errors: []int{http.StatusConflict},
		responses: map[string]*huma.Response{"201": {Description: "Issued", Content: bodyOf[wire.Minted](s)}},
	}, s.claim)
	register(s, endpoint{
		id: "revoke", method: http.MethodDelete, path: base + "/projects/{pid}/requests/{rid}/token", access: role(engine.RoleOperator), tag: "Requests",
		summary: "Revoke a token that is not consumed", description: "For the requester and admins. 409 not_pending after the token ended.",
		errors: []int{http.StatusConflict},
	}, s.revoke)
}

func (s *Server) claim(ctx context.Context, k *call, in *claimInput) (*mintOutput, error) {
	minted, err := s.downloads.Claim(ctx, k.Caller, k.request, engine.Secret(in.Body.Passphrase))
	if err != nil {
		countOutcome(s.metrics.claims, "", err)
		return nil, err
	}
	countOutcome(s.metrics.claims, string(minted.Request.Status), nil)
	return issued(k, minted), nil
}

func (s *Server) revoke(ctx context.Context, k *call, _ *struct{}) (*struct{}, error) {
	if !k.Role.Includes(engine.RoleAdmin) {
		if err := requesterOnly(k); err != nil {
			return nil, err
		}
	}
	return nil, s.downloads.Revoke(ctx, k.Caller, k.request)
}

// issued is the answer with a token.
func issued(k *call, minted engine.Minted) *mintOutput {
	r := minted.Request
	return &mintOutput{http.StatusCreated, wire.Minted{
		RequestID: r.ID, Status: string(r.Status), Token: wire.Secret(minted.Token),
		URL:       wire.Secret(k.base + base + "/downloads/" + minted.Token.Reveal()),
		ExpiresAt: r.ExpiresAt, Format: r.Format, Filename: r.Filename,
	}}
}

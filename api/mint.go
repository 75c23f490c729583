package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

type mintInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Names this mint for 24 hours. The same key with the same body is answered with 200 and the request, without the token"`
	Body           wire.MintBody
}

// mintOutput is a wire.Minted with 201, a wire.Pending with 202 or a
// wire.Replayed with 200.
type mintOutput struct {
	Status int
	Body   any
}

func (s *Server) mintEndpoints() {
	register(s, endpoint{
		id: "mint", load: minting, method: http.MethodPost, path: base + "/projects/{pid}/certificates/{cid}/downloads",
		access: role(engine.RoleOperator), refusedAs: engine.ActionDownloadRefused, tag: "Downloads",
		summary: "Request a download",
		description: "Answers with a token that fetches the file once; the answer is the only one that shows it. " +
			"Where the policy requires approval, the answer is 202: claim the token after the approval.",
		status: http.StatusCreated, errors: []int{http.StatusConflict},
		responses: map[string]*huma.Response{
			"200": {Description: "The request that the Idempotency-Key names already", Content: bodyOf[wire.Replayed](s)},
			"201": {Description: "Issued", Content: bodyOf[wire.Minted](s)},
			"202": {Description: "Waits for approval", Content: bodyOf[wire.Pending](s)},
		},
	}, s.mint)
}

func (s *Server) mint(ctx context.Context, k *call, in *mintInput) (*mintOutput, error) {
	minted, err := s.downloads.Mint(ctx, k.Caller, engine.MintParams{
		Certificate: k.certificate, Format: in.Body.Format, Passphrase: engine.Secret(in.Body.Passphrase),
		Reason: in.Body.Reason, Options: in.Body.Options, TTLSeconds: in.Body.TTLSeconds, BindIP: in.Body.BindIP,
		IdempotencyKey: in.IdempotencyKey,
	})
	if err != nil {
		countOutcome(s.metrics.mints, "", err)
		return nil, err
	}
	k.span.SetAttributes(tracing.Format.String(minted.Request.Format)) // a format that exists, unlike the one asked for
	if minted.Replayed {
		countOutcome(s.metrics.mints, "replayed", nil)
		r := toRequest(minted.Request)
		return &mintOutput{http.StatusOK, wire.Replayed{Request: r, RequestID: r.ID, Replayed: true}}, nil
	}
	countOutcome(s.metrics.mints, string(minted.Request.Status), nil)
	if minted.Request.Status == engine.StatusPendingApproval {
		return &mintOutput{http.StatusAccepted, s.toPending(minted.Request)}, nil
	}
	return issued(k, minted), nil
}

func (s *Server) toPending(r engine.Request) wire.Pending {
	format, _ := s.downloads.Formats.Format(r.Format)
	return wire.Pending{
		RequestID: r.ID, Status: string(r.Status), ApprovalID: r.ApprovalID, ApprovalExpiresAt: r.ApprovalExpiresAt,
		RequiredApprovals: r.RequiredApprovals, PassphraseAtClaim: format.NeedsPassphrase, ClaimWindowSeconds: r.ClaimWindowSeconds,
	}
}

package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type mintInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"255" doc:"Names this mint for 24 hours: sent again with the same body, it answers 200 with the request and no token"`
	Body           wire.MintBody
}

// mintOutput is a wire.Minted with 201, a wire.Pending with 202 or a
// wire.Replayed with 200.
type mintOutput struct {
	Status int
	Body   any
}

func (s *Server) downloadEndpoints() {
	mint := endpoint{
		id: "mint", method: http.MethodPost, path: base + "/projects/{pid}/certificates/{cid}/downloads", tag: "Downloads",
		summary:     "Ask for a download",
		description: "Answers with a token that fetches the file once, told here and nowhere again. Where the policy asks for approval, 202: claim the token once it is given.",
		status:      http.StatusCreated,
		access:      access{role: engine.RoleOperator, action: engine.ActionDownloadRefused},
		errors:      []int{http.StatusConflict},
		responses:   s.mintResponses(),
	}
	register(s, mint, s.mint)
	s.redeemEndpoints()
}

func (s *Server) mintResponses() map[string]*huma.Response {
	responses := s.claimResponses()
	responses["200"] = &huma.Response{
		Description: "The request that the Idempotency-Key names already", Content: bodyOf[wire.Replayed](s),
	}
	responses["202"] = &huma.Response{Description: "Waits for approval", Content: bodyOf[wire.Pending](s)}
	return responses
}

func (s *Server) claimResponses() map[string]*huma.Response {
	return map[string]*huma.Response{"201": {Description: "Issued", Content: bodyOf[wire.Minted](s)}}
}

func (s *Server) mint(ctx context.Context, k *call, in *mintInput) (*mintOutput, error) {
	minted, err := s.downloads.Mint(ctx, k.Caller, engine.MintParams{
		Certificate: k.certificate, Format: in.Body.Format, Passphrase: engine.Secret(in.Body.Passphrase),
		Reason: in.Body.Reason, Options: in.Body.Options, TTLSeconds: in.Body.TTLSeconds, BindIP: in.Body.BindIP,
		IdempotencyKey: in.IdempotencyKey,
	})
	if err != nil {
		outcome(s.metrics.mints, "", err)
		return nil, err
	}
	if minted.Replayed {
		outcome(s.metrics.mints, "replayed", nil)
		r := toRequest(minted.Request)
		return &mintOutput{http.StatusOK, wire.Replayed{Request: r, RequestID: r.ID, Replayed: true}}, nil
	}
	outcome(s.metrics.mints, string(minted.Request.Status), nil)
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

// issued is the answer with a token.
func issued(k *call, minted engine.Minted) *mintOutput {
	r := minted.Request
	return &mintOutput{http.StatusCreated, wire.Minted{
		RequestID: r.ID, Status: string(r.Status), Token: wire.Secret(minted.Token),
		URL:       wire.Secret(k.base + base + "/downloads/" + minted.Token.Reveal()),
		ExpiresAt: r.ExpiresAt, Format: r.Format, Filename: r.Filename,
	}}
}

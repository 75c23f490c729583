package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// Minted is the answer to a mint: a token, or an approval to wait for, or the
// request of an earlier mint with the same idempotency key.
type Minted struct {
	wire.Minted
	Pending  *wire.Pending
	Replayed *wire.Request
}

// Mint requests a download. The idempotency key may be empty.
func (c *Client) Mint(ctx context.Context, project, certificate string, body wire.MintBody, idempotencyKey string) (Minted, error) {
	r := request{
		method: http.MethodPost, path: at("projects", project, "certificates", certificate, "downloads"), body: body, header: http.Header{},
	}
	if idempotencyKey != "" {
		r.header.Set("Idempotency-Key", idempotencyKey)
	}
	answer, err := c.do(ctx, r)
	if err != nil {
		return Minted{}, err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or its reading failed
	var out Minted
	switch answer.StatusCode {
	case http.StatusCreated:
		err = json.NewDecoder(answer.Body).Decode(&out.Minted)
	case http.StatusAccepted:
		err = json.NewDecoder(answer.Body).Decode(&out.Pending)
		if out.Pending != nil {
			out.RequestID, out.Status = out.Pending.RequestID, out.Pending.Status
		}
	default:
		var replayed wire.Replayed
		err = json.NewDecoder(answer.Body).Decode(&replayed)
		out.Replayed, out.RequestID, out.Status = &replayed.Request, replayed.RequestID, replayed.Status
	}
	if err != nil {
		return Minted{}, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}

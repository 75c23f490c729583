package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// RequestQuery filters a listing of requests; empty members do not filter.
type RequestQuery struct {
	Status        string
	CertificateID string
	Paging
}

// Requests lists download requests, newest first.
func (c *Client) Requests(ctx context.Context, project string, q RequestQuery) (wire.Page[wire.Request], error) {
	v := q.values()
	set(v, "status", q.Status)
	set(v, "certificate_id", q.CertificateID)
	return call[wire.Page[wire.Request]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "requests"), query: v})
}

// Request reads a download request.
func (c *Client) Request(ctx context.Context, project, id string) (wire.Request, error) {
	return call[wire.Request](ctx, c, request{method: http.MethodGet, path: at("projects", project, "requests", id)})
}

// Claim fetches the token of an approved request.
func (c *Client) Claim(ctx context.Context, project, id string, passphrase wire.Secret) (wire.Minted, error) {
	return call[wire.Minted](ctx, c, request{
		method: http.MethodPost, path: at("projects", project, "requests", id, "token"), body: wire.ClaimBody{Passphrase: passphrase},
	})
}

// Cancel cancels a waiting request.
func (c *Client) Cancel(ctx context.Context, project, id string) (wire.Request, error) {
	return call[wire.Request](ctx, c, request{method: http.MethodPost, path: at("projects", project, "requests", id, "cancel")})
}

// Revoke revokes a request's token, which must not be consumed.
func (c *Client) Revoke(ctx context.Context, project, id string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("projects", project, "requests", id, "token")})
	return err
}

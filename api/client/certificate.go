package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// Certificates lists the certificates whose text contains the words of query, all
// certificates if it is empty.
func (c *Client) Certificates(ctx context.Context, project, query string, p Paging) (wire.Page[wire.Certificate], error) {
	v := p.values()
	set(v, "q", query)
	return call[wire.Page[wire.Certificate]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "certificates"), query: v})
}

// Certificate reads a certificate.
func (c *Client) Certificate(ctx context.Context, project, id string) (wire.Certificate, error) {
	return call[wire.Certificate](ctx, c, request{method: http.MethodGet, path: at("projects", project, "certificates", id)})
}

// Import stores a certificate.
func (c *Client) Import(ctx context.Context, project string, body wire.ImportBody) (wire.Certificate, error) {
	return call[wire.Certificate](ctx, c, request{method: http.MethodPost, path: at("projects", project, "certificates"), body: body})
}

// Formats lists the formats in which certificates can be downloaded.
func (c *Client) Formats(ctx context.Context, project string, p Paging) (wire.Page[wire.Format], error) {
	return call[wire.Page[wire.Format]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "formats"), query: p.values()})
}

package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// Policy reads the certificate policy and its ETag.
func (c *Client) Policy(ctx context.Context, project string) (policy wire.Policy, etag string, err error) {
	policy, header, err := callHeader[wire.Policy](ctx, c, request{method: http.MethodGet, path: at("projects", project, "certificate-policy")})
	return policy, header.Get("ETag"), err
}

// SetPolicy replaces the certificate policy. With the ETag of the policy that it
// was made from, it fails with precondition_failed if another came between.
func (c *Client) SetPolicy(ctx context.Context, project string, p wire.Policy, ifMatch string) (wire.Policy, error) {
	r := request{method: http.MethodPut, path: at("projects", project, "certificate-policy"), body: p, header: http.Header{}}
	if ifMatch != "" {
		r.header.Set("If-Match", ifMatch)
	}
	return call[wire.Policy](ctx, c, r)
}

// Evaluate returns the policy's verdict on a download without requesting it.
func (c *Client) Evaluate(ctx context.Context, project string, body wire.EvaluateBody) (wire.Verdict, error) {
	return call[wire.Verdict](ctx, c, request{
		method: http.MethodPost, path: at("projects", project, "certificate-policy", "evaluate"), body: body,
	})
}

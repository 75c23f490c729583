package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// ApprovalQuery filters a listing of approvals. Status "" is every state, "settled"
// every state except pending.
type ApprovalQuery struct {
	Status string
	Paging
}

// Approvals lists approvals, newest first.
func (c *Client) Approvals(ctx context.Context, project string, q ApprovalQuery) (wire.Page[wire.Approval], error) {
	v := q.values()
	set(v, "status", q.Status)
	return call[wire.Page[wire.Approval]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "approvals"), query: v})
}

// Approval reads an approval.
func (c *Client) Approval(ctx context.Context, project, id string) (wire.Approval, error) {
	return call[wire.Approval](ctx, c, request{method: http.MethodGet, path: at("projects", project, "approvals", id)})
}

// Approve approves a download; the comment may be empty.
func (c *Client) Approve(ctx context.Context, project, id, comment string) (wire.Approval, error) {
	return c.vote(ctx, project, id, "approve", comment)
}

// Deny denies a download; the comment may not be empty.
func (c *Client) Deny(ctx context.Context, project, id, comment string) (wire.Approval, error) {
	return c.vote(ctx, project, id, "deny", comment)
}

func (c *Client) vote(ctx context.Context, project, id, decision, comment string) (wire.Approval, error) {
	return call[wire.Approval](ctx, c, request{
		method: http.MethodPost, path: at("projects", project, "approvals", id, decision), body: wire.VoteBody{Comment: comment},
	})
}

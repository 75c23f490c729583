package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// Targets lists a project's notification targets.
func (c *Client) Targets(ctx context.Context, project string, p Paging) (wire.Page[wire.NotificationTarget], error) {
	return call[wire.Page[wire.NotificationTarget]](ctx, c, request{
		method: http.MethodGet, path: at("projects", project, "notification-targets"), query: p.values(),
	})
}

// CreateTarget adds a notification target.
func (c *Client) CreateTarget(ctx context.Context, project string, body wire.NotificationTargetBody) (wire.NewNotificationTarget, error) {
	return call[wire.NewNotificationTarget](ctx, c, request{method: http.MethodPost, path: at("projects", project, "notification-targets"), body: body})
}

// DeleteTarget deletes a notification target.
func (c *Client) DeleteTarget(ctx context.Context, project, target string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("projects", project, "notification-targets", target)})
	return err
}

// TestTarget sends a test message to a notification target.
func (c *Client) TestTarget(ctx context.Context, project, target string) (wire.NotificationTest, error) {
	return call[wire.NotificationTest](ctx, c, request{method: http.MethodPost, path: at("projects", project, "notification-targets", target, "test")})
}

package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// NotificationTargets lists where a project sends notifications.
func (c *Client) NotificationTargets(ctx context.Context, project string, p Paging) (wire.Page[wire.NotificationTarget], error) {
	return call[wire.Page[wire.NotificationTarget]](ctx, c, request{
		method: http.MethodGet, path: at("projects", project, "notification-targets"), query: p.values(),
	})
}

// CreateNotificationTarget adds a target; a webhook's signing secret is in the
// answer and nowhere again.
func (c *Client) CreateNotificationTarget(ctx context.Context, project string, body wire.NotificationTargetBody) (wire.NewNotificationTarget, error) {
	return call[wire.NewNotificationTarget](ctx, c, request{
		method: http.MethodPost, path: at("projects", project, "notification-targets"), body: body,
	})
}

// DeleteNotificationTarget removes a target.
func (c *Client) DeleteNotificationTarget(ctx context.Context, project, target string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("projects", project, "notification-targets", target)})
	return err
}

// TestNotificationTarget sends a test message and tells what came of it.
func (c *Client) TestNotificationTarget(ctx context.Context, project, target string) (wire.NotificationTest, error) {
	return call[wire.NotificationTest](ctx, c, request{method: http.MethodPost, path: at("projects", project, "notification-targets", target, "test")})
}

package client

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
)

// Me says who the caller is.
func (c *Client) Me(ctx context.Context) (wire.Me, error) {
	return call[wire.Me](ctx, c, request{method: http.MethodGet, path: "me"})
}

// Projects lists the caller's projects.
func (c *Client) Projects(ctx context.Context, p Paging) (wire.Page[wire.Project], error) {
	return call[wire.Page[wire.Project]](ctx, c, request{method: http.MethodGet, path: "projects", query: p.values()})
}

// Project reads a project.
func (c *Client) Project(ctx context.Context, id string) (wire.Project, error) {
	return call[wire.Project](ctx, c, request{method: http.MethodGet, path: at("projects", id)})
}

// CreateProject makes a project, for system administrators.
func (c *Client) CreateProject(ctx context.Context, name string) (wire.Project, error) {
	return call[wire.Project](ctx, c, request{method: http.MethodPost, path: "projects", body: wire.ProjectBody{Name: name}})
}

// Users lists users, for system administrators.
func (c *Client) Users(ctx context.Context, p Paging) (wire.Page[wire.User], error) {
	return call[wire.Page[wire.User]](ctx, c, request{method: http.MethodGet, path: "users", query: p.values()})
}

// CreateUser makes a user, for system administrators.
func (c *Client) CreateUser(ctx context.Context, body wire.UserBody) (wire.User, error) {
	return call[wire.User](ctx, c, request{method: http.MethodPost, path: "users", body: body})
}

// ChangeUser changes a user, for system administrators.
func (c *Client) ChangeUser(ctx context.Context, id string, body wire.UserChangeBody) (wire.User, error) {
	return call[wire.User](ctx, c, request{method: http.MethodPatch, path: at("users", id), body: body})
}

// UserSessions lists where a user is signed in, for system administrators.
func (c *Client) UserSessions(ctx context.Context, id string, p Paging) (wire.Page[wire.SignedIn], error) {
	return call[wire.Page[wire.SignedIn]](ctx, c, request{method: http.MethodGet, path: at("users", id, "sessions"), query: p.values()})
}

// SignOutUser ends every session of a user, for system administrators.
func (c *Client) SignOutUser(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("users", id, "sessions")})
	return err
}

// Members lists a project's members.
func (c *Client) Members(ctx context.Context, project string, p Paging) (wire.Page[wire.Member], error) {
	return call[wire.Page[wire.Member]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "members"), query: p.values()})
}

// SetMember gives a user a role in a project.
func (c *Client) SetMember(ctx context.Context, project, user, role string) (wire.Member, error) {
	return call[wire.Member](ctx, c, request{
		method: http.MethodPut, path: at("projects", project, "members", user), body: wire.MemberBody{Role: role},
	})
}

// RemoveMember removes a user from a project.
func (c *Client) RemoveMember(ctx context.Context, project, user string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("projects", project, "members", user)})
	return err
}

// APIKeys lists a project's API keys.
func (c *Client) APIKeys(ctx context.Context, project string, p Paging) (wire.Page[wire.APIKey], error) {
	return call[wire.Page[wire.APIKey]](ctx, c, request{method: http.MethodGet, path: at("projects", project, "api-keys"), query: p.values()})
}

// CreateAPIKey makes an API key that acts for the caller.
func (c *Client) CreateAPIKey(ctx context.Context, project string, body wire.APIKeyBody) (wire.NewAPIKey, error) {
	return call[wire.NewAPIKey](ctx, c, request{method: http.MethodPost, path: at("projects", project, "api-keys"), body: body})
}

// RevokeAPIKey stops an API key.
func (c *Client) RevokeAPIKey(ctx context.Context, project, key string) error {
	_, err := call[struct{}](ctx, c, request{method: http.MethodDelete, path: at("projects", project, "api-keys", key)})
	return err
}

// Plugins lists the format plugins, for system administrators.
func (c *Client) Plugins(ctx context.Context, p Paging) (wire.Page[wire.Plugin], error) {
	return call[wire.Page[wire.Plugin]](ctx, c, request{method: http.MethodGet, path: "plugins", query: p.values()})
}

// ReloadPlugin restarts a plugin, for system administrators.
func (c *Client) ReloadPlugin(ctx context.Context, name string) (wire.Plugin, error) {
	return call[wire.Plugin](ctx, c, request{method: http.MethodPost, path: at("plugins", name, "reload")})
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// accessReader reads what the guard checks: projects and memberships.
type accessReader interface {
	Project(ctx context.Context, id string) (engine.Project, error)
	Member(ctx context.Context, projectID, userID string) (engine.Member, error)
}

// projectReader lists projects; memberID "" lists all.
type projectReader interface {
	Projects(ctx context.Context, memberID string, page engine.Page) ([]engine.Project, string, error)
}

type projectInput struct{ Body wire.ProjectBody }

type projectOutput struct{ Body wire.Project }

func (s *Server) projectEndpoints() {
	register(s, endpoint{
		id: "list-projects", method: http.MethodGet, path: base + "/projects", access: signedIn, tag: "Projects",
		summary: "List the caller's projects", description: "An API key has one project; the session of a system administrator has all.",
	}, s.listProjects)
	register(s, endpoint{
		id: "get-project", method: http.MethodGet, path: base + "/projects/{pid}", access: role(engine.RoleViewer), tag: "Projects",
		summary: "Read a project",
	}, s.getProject)
	register(s, endpoint{
		id: "create-project", method: http.MethodPost, path: base + "/projects", access: systemAdmin, tag: "Projects",
		summary: "Create a project", description: "The caller becomes its first administrator.", status: http.StatusCreated,
	}, s.createProject)
}

func (s *Server) getProject(_ context.Context, k *call, _ *struct{}) (*projectOutput, error) {
	return &projectOutput{toProject(k.Project, k.Role)}, nil
}

func (s *Server) createProject(ctx context.Context, k *call, in *projectInput) (*projectOutput, error) {
	p, err := s.admin.CreateProject(ctx, k.Caller, in.Body.Name)
	return &projectOutput{toProject(p, engine.RoleAdmin)}, err
}

func (s *Server) listProjects(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.Project], error) {
	if k.Key != nil {
		err := s.enter(ctx, k, k.Key.ProjectID)
		if errors.Is(err, engine.CodeNotFound) { // no longer a member
			return listed([]engine.Project{}, "", func(p engine.Project) wire.Project { return toProject(p, "") }), nil
		}
		if err != nil {
			return nil, err
		}
		return listed([]engine.Project{k.Project}, "", func(p engine.Project) wire.Project { return toProject(p, k.Role) }), nil
	}
	person := k.User.ID
	if k.IsSystemAdmin() {
		person = ""
	}
	found, next, err := s.store.Projects(ctx, person, in.page())
	if err != nil {
		return nil, err
	}
	roles := map[string]engine.Role{}
	for _, p := range found {
		member, err := s.store.Member(ctx, p.ID, k.User.ID)
		if err != nil && !errors.Is(err, engine.CodeNotFound) {
			return nil, fmt.Errorf("look up member: %w", err)
		}
		roles[p.ID] = k.RoleIn(p.ID, member)
	}
	return listed(found, next, func(p engine.Project) wire.Project { return toProject(p, roles[p.ID]) }), nil
}

func toProject(p engine.Project, role engine.Role) wire.Project {
	return wire.Project{ID: p.ID, Name: p.Name, Role: string(role), CreatedAt: p.CreatedAt}
}

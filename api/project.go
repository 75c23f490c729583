package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type projectInput struct{ Body wire.ProjectBody }

type projectOutput struct{ Body wire.Project }

func (s *Server) projectEndpoints() {
	e := endpoint{
		id: "list-projects", method: http.MethodGet, path: base + "/projects", tag: "Projects", summary: "List the caller's projects",
		description: "An API key has one; a system administrator in person has all.",
	}
	register(s, e, s.projects)
	e.id, e.path, e.summary, e.access = "get-project", base+"/projects/{pid}", "Read a project", access{role: engine.RoleViewer}
	e.description = ""
	register(s, e, func(_ context.Context, k *call, _ *struct{}) (*projectOutput, error) {
		return &projectOutput{toProject(k.Project, k.Role)}, nil
	})
	register(s, endpoint{
		id: "create-project", method: http.MethodPost, path: base + "/projects", tag: "Projects", summary: "Make a project",
		description: "The caller becomes its first administrator.", status: http.StatusCreated, access: access{system: true},
	}, func(ctx context.Context, k *call, in *projectInput) (*projectOutput, error) {
		p, err := s.admin.CreateProject(ctx, k.Caller, in.Body.Name)
		return &projectOutput{toProject(p, engine.RoleAdmin)}, err
	})
}

func (s *Server) projects(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.Project], error) {
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
		roles[p.ID] = k.RoleIn(p.ID, member.Role)
	}
	return listed(found, next, func(p engine.Project) wire.Project { return toProject(p, roles[p.ID]) }), nil
}

func toProject(p engine.Project, role engine.Role) wire.Project {
	return wire.Project{ID: p.ID, Name: p.Name, Role: string(role), CreatedAt: p.CreatedAt}
}

package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type memberIDInput struct {
	UserID string `path:"uid"`
}

type memberInput struct {
	UserID string `path:"uid"`
	Body   wire.MemberBody
}

type memberOutput struct{ Body wire.Member }

func (s *Server) memberEndpoints() {
	e := endpoint{
		id: "list-members", method: http.MethodGet, path: base + "/projects/{pid}/members", tag: "Members", summary: "List members",
		access: access{role: engine.RoleViewer},
	}
	register(s, e, s.members)
	e.access.role, e.path = engine.RoleAdmin, e.path+"/{uid}"
	e.id, e.method, e.summary = "set-member", http.MethodPut, "Give a user a role in the project"
	register(s, e, s.setMember)
	e.id, e.method, e.summary = "remove-member", http.MethodDelete, "Take a user out of the project"
	e.description = "Their API keys of this project stop with it."
	register(s, e, func(ctx context.Context, k *call, in *memberIDInput) (*struct{}, error) {
		if !ids.MatchString(in.UserID) {
			return nil, engine.CodeNotFound
		}
		return nil, s.admin.RemoveMember(ctx, k.Caller, in.UserID)
	})
}

func (s *Server) members(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.Member], error) {
	found, next, err := s.store.Members(ctx, k.Project.ID, in.page())
	if err != nil {
		return nil, err
	}
	out := &listing[wire.Member]{Body: wire.Page[wire.Member]{Items: []wire.Member{}}}
	for _, m := range found {
		shown, err := s.toMember(ctx, m)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, shown)
	}
	if next != "" {
		out.Body.NextCursor = &next
	}
	return out, nil
}

func (s *Server) setMember(ctx context.Context, k *call, in *memberInput) (*memberOutput, error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	m, err := s.admin.SetMember(ctx, k.Caller, in.UserID, engine.Role(in.Body.Role))
	if err != nil {
		return nil, err
	}
	shown, err := s.toMember(ctx, m)
	return &memberOutput{shown}, err
}

func (s *Server) toMember(ctx context.Context, m engine.Member) (wire.Member, error) {
	u, err := s.store.User(ctx, m.UserID)
	if err != nil {
		return wire.Member{}, fmt.Errorf("look up member: %w", err)
	}
	return wire.Member{UserID: u.ID, Username: u.Username, Name: u.Name, Role: string(m.Role), Disabled: u.Disabled, CreatedAt: m.CreatedAt}, nil
}

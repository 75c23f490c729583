package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type userIDInput struct {
	UserID string `path:"uid"`
}

type memberInput struct {
	UserID string `path:"uid"`
	Body   wire.MemberBody
}

type memberOutput struct{ Body wire.Member }

func (s *Server) memberEndpoints() {
	register(s, endpoint{
		id: "list-members", method: http.MethodGet, path: base + "/projects/{pid}/members", access: role(engine.RoleViewer), tag: "Members",
		summary: "List members",
	}, s.listMembers)
	register(s, endpoint{
		id: "set-member", method: http.MethodPut, path: base + "/projects/{pid}/members/{uid}", access: role(engine.RoleAdmin), tag: "Members",
		summary: "Give a user a role in the project",
	}, s.setMember)
	register(s, endpoint{
		id: "remove-member", method: http.MethodDelete, path: base + "/projects/{pid}/members/{uid}", access: role(engine.RoleAdmin), tag: "Members",
		summary: "Remove a user from the project", description: "Their API keys of this project, and what their sessions reach of it, end for good.",
	}, s.removeMember)
}

func (s *Server) removeMember(ctx context.Context, k *call, in *userIDInput) (*struct{}, error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	return nil, s.admin.RemoveMember(ctx, k.Caller, in.UserID)
}

func (s *Server) listMembers(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.Member], error) {
	found, next, err := s.store.Members(ctx, k.Project.ID, in.page())
	if err != nil {
		return nil, err
	}
	shown := make([]wire.Member, len(found))
	for i, m := range found {
		if shown[i], err = s.toMember(ctx, m); err != nil {
			return nil, err
		}
	}
	return listed(shown, next, func(m wire.Member) wire.Member { return m }), nil
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

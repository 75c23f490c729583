package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type meOutput struct{ Body wire.Me }

type userInput struct{ Body wire.UserBody }

type userChangeInput struct {
	UserID string `path:"uid"`
	Body   wire.UserChangeBody
}

type userOutput struct{ Body wire.User }

func (s *Server) userEndpoints() {
	register(s, endpoint{
		id: "me", method: http.MethodGet, path: base + "/me", tag: "Users", summary: "Tell who calls",
	}, func(_ context.Context, k *call, _ *struct{}) (*meOutput, error) {
		me := wire.Me{User: toUser(k.User)}
		if k.Session != nil {
			me.Session = s.toSession(k.Principal, k.forgeryToken)
		}
		if k.Key != nil {
			key := toAPIKey(*k.Key)
			me.APIKey = &key
		}
		return &meOutput{me}, nil
	})
	e := endpoint{
		id: "list-users", method: http.MethodGet, path: base + "/users", tag: "Users", summary: "List users", access: access{system: true},
	}
	register(s, e, func(ctx context.Context, _ *call, in *struct{ Paging }) (*listing[wire.User], error) {
		found, next, err := s.store.Users(ctx, in.page())
		return listed(found, next, toUser), err
	})
	e.id, e.method, e.summary, e.status = "create-user", http.MethodPost, "Make a user", http.StatusCreated
	register(s, e, s.createUser)
	e.id, e.method, e.path, e.summary, e.status = "change-user", http.MethodPatch, e.path+"/{uid}", "Set a user's password, disable or enable them", 0
	e.description = "Either signs them out everywhere. Whoever is disabled is cut off at once, API keys included."
	register(s, e, s.changeUser)
}

func (s *Server) createUser(ctx context.Context, k *call, in *userInput) (*userOutput, error) {
	b := in.Body
	u := engine.User{Username: b.Username, Name: b.Name, Email: b.Email, SystemAdmin: b.SystemAdmin}
	if b.Password != "" {
		hash, err := s.admin.Passwords.Hash(ctx, engine.Secret(b.Password.Reveal()))
		if err != nil {
			return nil, err
		}
		u.PasswordHash = hash
	}
	u, err := s.admin.CreateUser(ctx, k.Caller, u)
	return &userOutput{toUser(u)}, err
}

func (s *Server) changeUser(ctx context.Context, k *call, in *userChangeInput) (*userOutput, error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	change := engine.UserChange{Disabled: in.Body.Disabled}
	if in.Body.Password != nil {
		hash, err := s.admin.Passwords.Hash(ctx, engine.Secret(in.Body.Password.Reveal()))
		if err != nil {
			return nil, err
		}
		change.PasswordHash = &hash
	}
	u, err := s.admin.ChangeUser(ctx, k.Caller, in.UserID, change)
	return &userOutput{toUser(u)}, err
}

func toUser(u engine.User) wire.User {
	return wire.User{
		ID: u.ID, Username: u.Username, Name: u.Name, Email: u.Email, SystemAdmin: u.SystemAdmin, Disabled: u.Disabled, CreatedAt: u.CreatedAt,
	}
}

package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/alexedwards/argon2id"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type meOutput struct{ Body wire.Me }

type userInput struct{ Body wire.UserBody }

type userOutput struct{ Body wire.User }

func (s *Server) userEndpoints() {
	register(s, endpoint{
		id: "me", method: http.MethodGet, path: base + "/me", tag: "Users", summary: "Tell who calls",
	}, func(_ context.Context, k *call, _ *struct{}) (*meOutput, error) {
		me := wire.Me{User: toUser(k.User)}
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
}

func (s *Server) createUser(ctx context.Context, k *call, in *userInput) (*userOutput, error) {
	b := in.Body
	u := engine.User{Username: b.Username, Name: b.Name, Email: b.Email, SystemAdmin: b.SystemAdmin}
	if b.Password != "" {
		hash, err := argon2id.CreateHash(b.Password.Reveal(), argon2id.DefaultParams)
		if err != nil {
			return nil, fmt.Errorf("hash password: %w", err)
		}
		u.PasswordHash = hash
	}
	u, err := s.admin.CreateUser(ctx, k.Caller, u)
	return &userOutput{toUser(u)}, err
}

func toUser(u engine.User) wire.User {
	return wire.User{
		ID: u.ID, Username: u.Username, Name: u.Name, Email: u.Email, SystemAdmin: u.SystemAdmin, Disabled: u.Disabled, CreatedAt: u.CreatedAt,
	}
}

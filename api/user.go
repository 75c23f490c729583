package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// accountReader reads users, memberships and API keys.
type accountReader interface {
	User(ctx context.Context, id string) (engine.User, error)
	Users(ctx context.Context, page engine.Page) ([]engine.User, string, error)
	Members(ctx context.Context, projectID string, page engine.Page) ([]engine.Member, string, error)
	APIKeys(ctx context.Context, projectID string, page engine.Page) ([]engine.APIKey, string, error)
}

type meOutput struct{ Body wire.Me }

type userInput struct{ Body wire.UserBody }

type userChangeInput struct {
	UserID string `path:"uid"`
	Body   wire.UserChangeBody
}

type userOutput struct{ Body wire.User }

func (s *Server) userEndpoints() {
	register(s, endpoint{
		id: "me", method: http.MethodGet, path: base + "/me", access: signedIn, tag: "Users",
		summary: "Read who the caller is",
	}, s.me)
	register(s, endpoint{
		id: "list-users", method: http.MethodGet, path: base + "/users", access: systemAdmin, tag: "Users",
		summary: "List users",
	}, s.listUsers)
	register(s, endpoint{
		id: "create-user", method: http.MethodPost, path: base + "/users", access: systemAdmin, tag: "Users",
		summary: "Create a user", status: http.StatusCreated,
	}, s.createUser)
	register(s, endpoint{
		id: "change-user", method: http.MethodPatch, path: base + "/users/{uid}", access: systemAdmin, tag: "Users",
		summary: "Set a user's password, disable or enable them, or make them a system administrator or not",
		description: "Each change signs the user out everywhere, and is in the audit log of the system and of each project in which they are a member. " +
			"A disabled user is refused at once, also with an API key; their API keys end for good. " +
			"Until the user has changed a password that another person set, they cannot decide on approvals, and their decisions do not count. " +
			"Keys of the system end for good when their owner stops being a system administrator.",
	}, s.changeUser)
	register(s, endpoint{
		id: "list-user-sessions", method: http.MethodGet, path: base + "/users/{uid}/sessions", access: systemAdmin, tag: "Users",
		summary: "List where a user is signed in", description: "A page may have fewer items than its limit, because sessions that have ended are left out.",
	}, s.listUserSessions)
	register(s, endpoint{
		id: "sign-out-user", method: http.MethodDelete, path: base + "/users/{uid}/sessions", access: systemAdmin, tag: "Users",
		summary:     "Sign a user out everywhere",
		description: "It is in the audit log of the system and of each project in which they are a member. Their API keys stay.",
	}, s.signOutUser)
}

func (s *Server) me(_ context.Context, k *call, _ *struct{}) (*meOutput, error) {
	me := wire.Me{User: toUser(k.User)}
	if k.Session != nil {
		me.Session = s.toSession(k.Principal, k.csrfToken)
	}
	if k.Key != nil {
		key := toAPIKey(*k.Key)
		me.APIKey = &key
	}
	return &meOutput{me}, nil
}

func (s *Server) listUsers(ctx context.Context, _ *call, in *struct{ Paging }) (*listing[wire.User], error) {
	found, next, err := s.store.Users(ctx, in.page())
	return listed(found, next, toUser), err
}

func (s *Server) createUser(ctx context.Context, k *call, in *userInput) (*userOutput, error) {
	b := in.Body
	u, err := s.admin.CreateUser(ctx, k.Caller,
		engine.User{Username: b.Username, Name: b.Name, Email: b.Email, SystemAdmin: b.SystemAdmin}, engine.Secret(b.Password))
	return &userOutput{toUser(u)}, err
}

func (s *Server) changeUser(ctx context.Context, k *call, in *userChangeInput) (*userOutput, error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	u, err := s.admin.ChangeUser(ctx, k.Caller, in.UserID, engine.UserSettings{
		Password: (*engine.Secret)(in.Body.Password), Disabled: in.Body.Disabled, SystemAdmin: in.Body.SystemAdmin,
	})
	return &userOutput{toUser(u)}, err
}

type userSessionsInput struct {
	UserID string `path:"uid"`
	Paging
}

func (s *Server) listUserSessions(ctx context.Context, _ *call, in *userSessionsInput) (*listing[wire.SignedIn], error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	found, next, err := s.authentication.SessionsOf(ctx, in.UserID, in.page())
	return listed(found, next, func(session engine.Session) wire.SignedIn {
		return wire.SignedIn{Address: session.Address, CreatedAt: session.CreatedAt, SeenAt: session.SeenAt, ExpiresAt: session.ExpiresAt}
	}), err
}

func (s *Server) signOutUser(ctx context.Context, k *call, in *userIDInput) (*struct{}, error) {
	if !ids.MatchString(in.UserID) {
		return nil, engine.CodeNotFound
	}
	return nil, s.admin.SignOutUser(ctx, k.Caller, in.UserID)
}

func toUser(u engine.User) wire.User {
	return wire.User{
		ID: u.ID, Username: u.Username, Name: u.Name, Email: u.Email, SystemAdmin: u.SystemAdmin, Disabled: u.Disabled,
		PasswordSetByOther: u.PasswordSetByOther, CreatedAt: u.CreatedAt,
	}
}

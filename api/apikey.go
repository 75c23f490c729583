package api

import (
	"context"
	"net/http"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type apiKeyInput struct{ Body wire.APIKeyBody }

type apiKeyIDInput struct {
	ID string `path:"kid"`
}

type newAPIKeyOutput struct{ Body wire.NewAPIKey }

func (s *Server) apiKeyEndpoints() {
	e := endpoint{
		id: "list-api-keys", method: http.MethodGet, path: base + "/projects/{pid}/api-keys", tag: "API keys", summary: "List API keys",
		access: access{role: engine.RoleAdmin},
	}
	register(s, e, func(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.APIKey], error) {
		found, next, err := s.store.APIKeys(ctx, k.Project.ID, in.page())
		return listed(found, next, toAPIKey), err
	})
	e.id, e.method, e.summary, e.status = "create-api-key", http.MethodPost, "Make an API key", http.StatusCreated
	e.description = "It acts for its maker, with at most their role. Its secret is told here and nowhere again."
	register(s, e, s.createAPIKey)
	register(s, endpoint{
		id: "revoke-api-key", method: http.MethodDelete, path: base + "/projects/{pid}/api-keys/{kid}", tag: "API keys",
		summary: "Revoke an API key", access: access{role: engine.RoleAdmin},
	}, func(ctx context.Context, k *call, in *apiKeyIDInput) (*struct{}, error) {
		if !ids.MatchString(in.ID) {
			return nil, engine.CodeNotFound
		}
		return nil, s.admin.RevokeAPIKey(ctx, k.Caller, in.ID)
	})
}

func (s *Server) createAPIKey(ctx context.Context, k *call, in *apiKeyInput) (*newAPIKeyOutput, error) {
	var expires time.Time
	if in.Body.ExpiresAt != nil {
		expires = *in.Body.ExpiresAt
	}
	key, secret, err := s.admin.CreateAPIKey(ctx, k.Caller, in.Body.Name, engine.Role(in.Body.Role), expires)
	if err != nil {
		return nil, err
	}
	return &newAPIKeyOutput{wire.NewAPIKey{APIKey: toAPIKey(key), Secret: wire.Secret(secret)}}, nil
}

func toAPIKey(k engine.APIKey) wire.APIKey {
	return wire.APIKey{
		ID: k.ID, ProjectID: k.ProjectID, OwnerID: k.OwnerID, Name: k.Name, Role: string(k.Role), CreatedAt: k.CreatedAt,
		ExpiresAt: wire.Instant(k.ExpiresAt), RevokedAt: wire.Instant(k.RevokedAt),
	}
}

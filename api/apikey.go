package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type apiKeyInput struct{ Body wire.APIKeyBody }

type apiKeyIDInput struct {
	ID string `path:"kid"`
}

type newAPIKeyOutput struct{ Body wire.NewAPIKey }

func (s *Server) apiKeyEndpoints() {
	register(s, endpoint{
		id: "list-api-keys", method: http.MethodGet, path: base + "/projects/{pid}/api-keys", access: role(engine.RoleAdmin).orSystemChain(), tag: "API keys",
		summary: "List API keys",
	}, s.listAPIKeys)
	register(s, endpoint{
		id: "create-api-key", method: http.MethodPost, path: base + "/projects/{pid}/api-keys", access: role(engine.RoleAdmin).orSystemChain(), tag: "API keys",
		summary: "Create an API key", description: "The key acts for the user who creates it, in this project alone, with at most their role. " +
			"A key of the project system, which system administrators create with the role admin, reaches the whole system. " +
			"With client_certificate_sha256, the key is refused on connections that do not show that client certificate (RFC 8705, section 3). The answer is the only one that shows its secret.",
		status: http.StatusCreated,
	}, s.createAPIKey)
	register(s, endpoint{
		id: "revoke-api-key", method: http.MethodDelete, path: base + "/projects/{pid}/api-keys/{kid}", access: role(engine.RoleAdmin).orSystemChain(), tag: "API keys",
		summary: "Revoke an API key", description: "It ends the keys that were made with it, too, and every link that it made.",
	}, s.revokeAPIKey)
}

func (s *Server) listAPIKeys(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.APIKey], error) {
	found, next, err := s.store.APIKeys(ctx, k.Project.ID, in.page())
	return listed(found, next, toAPIKey), err
}

func (s *Server) createAPIKey(ctx context.Context, k *call, in *apiKeyInput) (*newAPIKeyOutput, error) {
	to := engine.APIKeySettings{Name: in.Body.Name, Role: engine.Role(in.Body.Role), CertificateSHA256: in.Body.ClientCertificateSHA256}
	if in.Body.ExpiresAt != nil {
		to.ExpiresAt = *in.Body.ExpiresAt
	}
	if to.CertificateSHA256 != "" && !s.options.ClientCertificates {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "this server asks for no client certificates, so the key could not be used; see tls.client_ca_file")
	}
	key, secret, err := s.admin.CreateAPIKey(ctx, k.Caller, to)
	if err != nil {
		return nil, err
	}
	return &newAPIKeyOutput{wire.NewAPIKey{APIKey: toAPIKey(key), Secret: wire.Secret(secret)}}, nil
}

func (s *Server) revokeAPIKey(ctx context.Context, k *call, in *apiKeyIDInput) (*struct{}, error) {
	if !ids.MatchString(in.ID) {
		return nil, engine.CodeNotFound
	}
	return nil, s.admin.RevokeAPIKey(ctx, k.Caller, in.ID)
}

func toAPIKey(k engine.APIKey) wire.APIKey {
	return wire.APIKey{
		ID: k.ID, ProjectID: k.ProjectID, OwnerID: k.OwnerID, Name: k.Name, Role: string(k.Role), CreatedAt: k.CreatedAt,
		ExpiresAt: wire.Instant(k.ExpiresAt), RevokedAt: wire.Instant(k.RevokedAt), ClientCertificateSHA256: k.CertificateSHA256,
	}
}

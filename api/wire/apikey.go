package wire

import "time"

// APIKey lets a program act for its owner in one project.
type APIKey struct {
	ID        string     `json:"id"`
	ProjectID string     `json:"project_id"`
	OwnerID   string     `json:"owner_id"`
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at" doc:"null: never"`
	RevokedAt *time.Time `json:"revoked_at"`
}

// NewAPIKey is a key at the one moment its secret is told.
type NewAPIKey struct {
	APIKey
	Secret Secret `json:"secret" doc:"Shown once; sent as Authorization: Bearer"`
}

// APIKeyBody makes a key.
type APIKeyBody struct {
	Name      string     `json:"name"`
	Role      string     `json:"role" doc:"At most the caller's own"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

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
	ExpiresAt *time.Time `json:"expires_at" doc:"null if it does not expire"`
	RevokedAt *time.Time `json:"revoked_at"`

	ClientCertificateSHA256 string `json:"client_certificate_sha256,omitempty" doc:"SHA-256 of the client certificate without which the key is refused, in hex"`
}

// NewAPIKey is a new key with its secret, which no other answer has.
type NewAPIKey struct {
	APIKey
	Secret Secret `json:"secret" doc:"Shown once; sent as Authorization: Bearer"`
}

// APIKeyBody creates a key.
type APIKeyBody struct {
	Name      string     `json:"name"`
	Role      string     `json:"role" doc:"At most the caller's own role"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`

	ClientCertificateSHA256 string `json:"client_certificate_sha256,omitempty" doc:"SHA-256 of a client certificate, in lower-case hex, without which the key is to be refused"`
}

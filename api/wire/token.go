package wire

import "time"

// DownloadToken is the forensic record of a token. Digest is its SHA-256 in hex,
// from which nobody can find its 256 random bits.
type DownloadToken struct {
	Digest        string    `json:"digest"`
	RequestID     string    `json:"request_id"`
	CertificateID string    `json:"certificate_id"`
	Format        string    `json:"format"`
	Requester     Requester `json:"requester"`
	BindIP        string    `json:"bind_ip"`
	IssuedAt      time.Time `json:"issued_at"`
	ExpiresAt     time.Time `json:"expires_at"`
	End           *TokenEnd `json:"end" doc:"How it ended; null while it is valid"`
}

// TokenEnd is how a token ended. FileSHA256 and FileSize describe the file that was
// sent, if the token was consumed.
type TokenEnd struct {
	Kind       string    `json:"kind" doc:"consumed, revoked or expired"`
	Actor      Actor     `json:"actor"`
	IP         string    `json:"ip"`
	UserAgent  string    `json:"user_agent"`
	Format     string    `json:"format"`
	FileSHA256 string    `json:"file_sha256"`
	FileSize   int       `json:"file_size" doc:"Bytes"`
	Time       time.Time `json:"time"`
}

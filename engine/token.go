package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"time"
)

// Token is the issued record of a download token. Digest is the token's SHA-256
// in hex; the token itself is stored nowhere. SealedPassphrase opens only with the
// token. IssuedTo is the caller who minted or claimed it: the requester's person,
// perhaps by another API key. ApprovalID names the approval by which the token was
// issued, if any.
type Token struct {
	Digest           string    `json:"digest"`
	RequestID        string    `json:"request_id"`
	ProjectID        string    `json:"project_id"`
	CertificateID    string    `json:"certificate_id"`
	Requester        Actor     `json:"requester"`
	IssuedTo         Actor     `json:"issued_to"`
	Format           string    `json:"format"`
	Options          string    `json:"options"`
	ContainsKey      bool      `json:"contains_key"`
	ApprovalID       string    `json:"approval_id"`
	BindIP           string    `json:"bind_ip"`
	SealedPassphrase []byte    `json:"sealed_passphrase"`
	IssuedAt         time.Time `json:"issued_at"`
	ExpiresAt        time.Time `json:"expires_at"`
}

// Expired reports whether the token has expired at now: its life ends at ExpiresAt.
func (t Token) Expired(now time.Time) bool { return !now.Before(t.ExpiresAt) }

// SettleKind says how a token ended.
type SettleKind string

// The kinds of settlement.
const (
	Consumed SettleKind = "consumed"
	Revoked  SettleKind = "revoked"
	Expired  SettleKind = "expired"
)

// Settlement is the one record that ends a token: on every store, the first one
// inserted wins. Attempt identifies the insert, so that a caller whose answer was
// lost recognises its own.
type Settlement struct {
	Digest    string     `json:"token_digest"`
	Kind      SettleKind `json:"kind"`
	Attempt   string     `json:"attempt"`
	RequestID string     `json:"request_id"`
	ProjectID string     `json:"project_id"`
	Actor     Actor      `json:"actor"`
	IP        string     `json:"ip"`
	UserAgent string     `json:"user_agent"`
	Format    string     `json:"format"`
	// FileSHA256 (hex) and FileSize (bytes) describe the file that was sent.
	FileSHA256 string    `json:"file_sha256"`
	FileSize   int       `json:"file_size"`
	Time       time.Time `json:"time"`
}

// Err is the refusal for a caller who comes after the settlement.
func (s Settlement) Err() error {
	switch s.Kind {
	case Consumed:
		return Errorf(CodeTokenConsumed, "this token was used at %s; make a new request", s.Time.Format(time.RFC3339))
	case Revoked:
		return Errorf(CodeTokenRevoked, "this token was revoked at %s; make a new request", s.Time.Format(time.RFC3339))
	default:
		return errTokenExpired(s.Time)
	}
}

func errTokenExpired(at time.Time) error {
	return Errorf(CodeTokenExpired, "this token expired at %s; make a new request", at.Format(time.RFC3339))
}

// NewToken makes a token of 256 random bits, base64url without padding.
func NewToken() Secret {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // crypto/rand.Read never fails: it crashes the program instead
	return Secret(base64.RawURLEncoding.EncodeToString(bits[:]))
}

// SealWithToken encrypts text so that only the holder of the token can read it:
// AES-256-GCM under a key derived by HKDF (RFC 5869) from the token.
func (s Secret) SealWithToken(token Secret) ([]byte, error) {
	aead, err := tokenAEAD(token)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, []byte(s), nil), nil //nolint:gosec // this AEAD makes its own random nonce
}

// OpenWithToken decrypts what SealWithToken made with the same token.
func OpenWithToken(token Secret, sealed []byte) (Secret, error) {
	aead, err := tokenAEAD(token)
	if err != nil {
		return "", err
	}
	text, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return "", fmt.Errorf("open under token: %w", err)
	}
	return Secret(text), nil
}

func tokenAEAD(token Secret) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "countersign passphrase v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key from token: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive key from token: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

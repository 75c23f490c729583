package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is the state of a request:
// pending_approval → approved → issued → consumed, ending early in denied,
// expired, cancelled or revoked.
type Status string

// The states of a request.
const (
	StatusPendingApproval Status = "pending_approval"
	StatusApproved        Status = "approved"
	StatusIssued          Status = "issued"
	StatusConsumed        Status = "consumed"
	StatusDenied          Status = "denied"
	StatusExpired         Status = "expired"
	StatusCancelled       Status = "cancelled"
	StatusRevoked         Status = "revoked"
)

var followers = map[Status][]Status{
	"":                    {StatusPendingApproval, StatusIssued, StatusDenied, StatusCancelled},
	StatusPendingApproval: {StatusPendingApproval, StatusApproved, StatusDenied, StatusExpired, StatusCancelled},
	StatusApproved:        {StatusIssued, StatusExpired, StatusCancelled},
	StatusIssued:          {StatusConsumed, StatusExpired, StatusRevoked, StatusIssued, StatusApproved},
}

// Valid reports whether s is one of the states.
func (s Status) Valid() bool {
	return s == StatusConsumed || followers[s] != nil && s != "" || s.Ended()
}

// Ended reports whether a request in this state never changes again.
func (s Status) Ended() bool {
	switch s {
	case StatusConsumed, StatusDenied, StatusExpired, StatusCancelled, StatusRevoked:
		return true
	}
	return false
}

// CanBecome reports whether a request may go from s to another state. The zero state
// is that of a request on which the policy has not decided yet.
func (s Status) CanBecome(to Status) bool { return slices.Contains(followers[s], to) }

// Request is a download request. Only the request's workflow writes it. Version grows
// with each write, and only a newer version replaces an older one.
type Request struct {
	ID             string    `json:"id"`
	Version        int       `json:"version"`
	ProjectID      string    `json:"project_id"`
	CertificateID  string    `json:"certificate_id"`
	Requester      Actor     `json:"requester"`
	Format         string    `json:"format"`
	Filename       string    `json:"filename"`
	ContainsKey    bool      `json:"contains_key"`
	Options        string    `json:"options"`
	Reason         string    `json:"reason"`
	TTLSeconds     int       `json:"ttl_seconds"`
	BindIP         string    `json:"bind_ip"`
	IP             string    `json:"ip"`
	UserAgent      string    `json:"user_agent"`
	Status         Status    `json:"status"`
	Code           Code      `json:"code"`
	Explanation    []string  `json:"explanation"`
	Remedies       []string  `json:"remedies"`
	PolicyRevision string    `json:"policy_revision"`
	TokenDigest    string    `json:"token_digest"`
	ExpiresAt      time.Time `json:"expires_at"`
	IdempotencyID  string    `json:"idempotency_id"`
	BodyDigest     string    `json:"body_digest"`
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`

	// These are set if the policy asks for approval. QuorumNote says which votes of a
	// pending approval did not count at the last vote. ClaimExpiresAt is set once the
	// request is approved: ClaimWindowSeconds later.
	ApprovalID         string    `json:"approval_id"`
	Decisions          []Vote    `json:"decisions"`
	RequiredApprovals  int       `json:"required_approvals"`
	QuorumNote         string    `json:"quorum_note"`
	ApprovalExpiresAt  time.Time `json:"approval_expires_at"`
	ClaimWindowSeconds int       `json:"claim_window_seconds"`
	ClaimExpiresAt     time.Time `json:"claim_expires_at"`
	// Claims is how often a token was claimed.
	Claims int `json:"claims,omitempty"`
}

// Claimable reports whether an approved request's token may be claimed, or
// claimed again, at now.
func (r Request) Claimable(now time.Time) bool {
	return r.ApprovalID != "" && (r.Status == StatusApproved || r.Status == StatusIssued) && now.Before(r.ClaimExpiresAt) && r.Claims < MaxClaims
}

// become is the request in its next state. An error is a mistake of the caller,
// who must have checked that the state can follow.
func (r Request) become(to Status, at time.Time) (Request, error) {
	if !r.Status.CanBecome(to) {
		return r, fmt.Errorf("a request that is %q cannot become %s", r.Status, to)
	}
	r.Version, r.Status, r.UpdatedAt = r.Version+1, to, at
	return r, nil
}

// Deadline is when time alone changes the state of the request; zero if it does not.
func (r Request) Deadline() time.Time {
	return map[Status]time.Time{
		StatusPendingApproval: r.ApprovalExpiresAt, StatusApproved: r.ClaimExpiresAt, StatusIssued: r.ExpiresAt,
	}[r.Status]
}

// digest is the SHA-256 of the parts, each ended by a NUL, in hex.
func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00") + "\x00"))
	return hex.EncodeToString(sum[:])
}

// idempotencyWindow is how long an Idempotency-Key names the same request.
const idempotencyWindow = 24 * time.Hour

// idempotencyID scopes an Idempotency-Key to project, person and certificate.
func idempotencyID(project, person, certificate, key string) string {
	return digest("idempotency", project, person, certificate, key)
}

// successorID is the request id for an Idempotency-Key after an earlier request
// (empty for the first). Concurrent callers derive the same id, so that
// only one of them starts a workflow.
func successorID(idempotencyID, before string) string {
	return "req_" + digest("request", idempotencyID, before)[:32]
}

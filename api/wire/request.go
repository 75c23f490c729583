package wire

import "time"

// Request is a download request: what was requested, what the policy decided, and
// its state.
type Request struct {
	ID             string         `json:"id"`
	Status         string         `json:"status" doc:"pending_approval, approved, issued, consumed, denied, expired, cancelled or revoked"`
	CertificateID  string         `json:"certificate_id"`
	Format         string         `json:"format"`
	Filename       string         `json:"filename"`
	Options        map[string]any `json:"options"`
	Requester      Requester      `json:"requester"`
	Reason         string         `json:"reason"`
	TTLSeconds     int            `json:"ttl_seconds"`
	BindIP         string         `json:"bind_ip"`
	Code           string         `json:"code" doc:"The problem code of a denial, else empty"`
	Explanation    []string       `json:"explanation" doc:"Why the policy decided so"`
	Remedies       []string       `json:"remedies" doc:"What would change a denial"`
	PolicyRevision string         `json:"policy_revision"`
	CreatedAt      time.Time      `json:"created_at"`
	UpdatedAt      time.Time      `json:"updated_at"`
	ExpiresAt      *time.Time     `json:"expires_at" doc:"When the token expires; null while there is no token"`

	// The members below are set if the request needs approval.
	ApprovalID        string     `json:"approval_id" doc:"Empty if no approval is needed"`
	RequiredApprovals int        `json:"required_approvals"`
	QuorumNote        string     `json:"quorum_note" doc:"Which votes of a pending approval did not count at the last vote, because their voter may no longer approve; else empty"`
	ApprovalExpiresAt *time.Time `json:"approval_expires_at" doc:"When the approval expires unless it is settled before"`
	ClaimExpiresAt    *time.Time `json:"claim_expires_at" doc:"Until when the token can be claimed; null until the request is approved"`
}

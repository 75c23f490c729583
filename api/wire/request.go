package wire

import "time"

// Request is a download request: what was asked for, what the policy decided
// and where it stands.
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
	ExpiresAt      *time.Time     `json:"expires_at" doc:"End of the token's life; null while there is none"`

	// What follows is there where people must approve first.
	ApprovalID        string     `json:"approval_id" doc:"Empty where no approval was asked for"`
	RequiredApprovals int        `json:"required_approvals"`
	ApprovalExpiresAt *time.Time `json:"approval_expires_at" doc:"When the approval lapses unless it is settled before"`
	ClaimExpiresAt    *time.Time `json:"claim_expires_at" doc:"Until when the approved download can be claimed; null until it is approved"`
}

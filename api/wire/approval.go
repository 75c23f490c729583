package wire

import "time"

// Approval is a decision about a file: which, for which requester and why. Digest
// binds it to certificate, format, options, requester and reason.
type Approval struct {
	ID                string              `json:"id"`
	Kind              string              `json:"kind" doc:"download_key"`
	Status            string              `json:"status" doc:"pending, approved, denied, expired or cancelled"`
	RequestID         string              `json:"request_id"`
	Requester         Requester           `json:"requester"`
	Certificate       ApprovalCertificate `json:"certificate"`
	Format            string              `json:"format"`
	Filename          string              `json:"filename"`
	ContainsKey       bool                `json:"contains_key" doc:"Whether the file contains the private key"`
	Options           map[string]any      `json:"options"`
	Reason            string              `json:"reason"`
	Digest            string              `json:"digest" doc:"SHA-256 over certificate, format, options, requester and reason, in hex"`
	RequiredApprovals int                 `json:"required_approvals" doc:"How many people must approve; one denial settles the approval"`
	Decisions         []Decision          `json:"decisions"`
	QuorumNote        string              `json:"quorum_note" doc:"Which votes of a pending approval did not count at the last vote, because their voter may no longer approve; else empty"`
	CreatedAt         time.Time           `json:"created_at"`
	ExpiresAt         time.Time           `json:"expires_at" doc:"When the approval expires unless it is settled before"`
}

// ApprovalCertificate is the certificate as approvers see it. The answer
// about one approval has all alternative names.
type ApprovalCertificate struct {
	ID                string    `json:"id"`
	Name              string    `json:"name"`
	Subject           string    `json:"subject"`
	SANs              []string  `json:"sans" doc:"Subject alternative names of every kind; in lists the first 20, each cut to 256 characters"`
	Issuer            string    `json:"issuer,omitempty" doc:"Of the certificate; only where one approval is read"`
	Warnings          []string  `json:"warnings,omitempty" doc:"What the certificate's import could not check; only where one approval is read"`
	SANCount          int       `json:"san_count,omitempty" doc:"How many alternative names there are; only where sans can be shorter"`
	FingerprintSHA256 string    `json:"fingerprint_sha256"`
	NotAfter          time.Time `json:"not_after"`
}

// Decision is the vote of one person.
type Decision struct {
	Actor    Requester `json:"actor"`
	Decision string    `json:"decision" doc:"approve or deny"`
	Comment  string    `json:"comment"`
	Time     time.Time `json:"time"`
	Void     bool      `json:"void,omitempty" doc:"The person may no longer decide, so the decision does not count now; only where one approval is read"`
}

// VoteBody is the body of a vote; a denial needs the comment.
type VoteBody struct {
	Comment string `json:"comment,omitempty" doc:"Why; kept in the audit log"`
}

// Pending is a download that waits for approval. If the format needs a passphrase,
// the claim must bring it.
type Pending struct {
	RequestID          string    `json:"request_id"`
	Status             string    `json:"status" doc:"pending_approval"`
	ApprovalID         string    `json:"approval_id"`
	ApprovalExpiresAt  time.Time `json:"approval_expires_at"`
	RequiredApprovals  int       `json:"required_approvals"`
	PassphraseAtClaim  bool      `json:"passphrase_at_claim" doc:"Whether the claim must bring a passphrase; one sent with the mint was dropped"`
	ClaimWindowSeconds int       `json:"claim_window_seconds" doc:"How long the download can be claimed once it is approved"`
}

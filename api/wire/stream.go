package wire

import "time"

// StreamEvent is the data of one event of a project's stream: what changed, for
// the caller to read again by GET. It never says more than that answer would.
type StreamEvent struct {
	RequestID     string    `json:"request_id" doc:"Empty in policy.updated, as are certificate_id and format"`
	ApprovalID    string    `json:"approval_id,omitempty" doc:"Absent where the request needs no approval"`
	CertificateID string    `json:"certificate_id"`
	Format        string    `json:"format"`
	Status        string    `json:"status,omitempty" doc:"The state that the request, or in approval.updated the approval, came to; absent where the action alone does not tell"`
	Action        string    `json:"action" doc:"As in the audit log, such as download.requested"`
	Time          time.Time `json:"time"`
}

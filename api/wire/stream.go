package wire

import "time"

// StreamEvent is the data of one event of a project's stream: what changed, so that
// the caller can GET it again. It never contains more than that answer.
type StreamEvent struct {
	RequestID     string    `json:"request_id" doc:"Empty in policy.updated, as are certificate_id and format"`
	ApprovalID    string    `json:"approval_id,omitempty" doc:"Absent if the request needs no approval"`
	CertificateID string    `json:"certificate_id"`
	Format        string    `json:"format"`
	Status        string    `json:"status,omitempty" doc:"The new state of the request or, in approval.updated, of the approval; absent if the action does not determine it"`
	Action        string    `json:"action" doc:"As in the audit log, such as download.requested"`
	Time          time.Time `json:"time"`
}

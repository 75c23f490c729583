package engine

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// SystemChain is the audit chain of entries that belong to no project.
const SystemChain = "system"

// The actions in the audit log.
const (
	ActionDownloadRequested        = "download.requested"
	ActionApprovalApproved         = "approval.approved"
	ActionApprovalDenied           = "approval.denied"
	ActionApprovalExpired          = "approval.expired"
	ActionDownloadCancelled        = "download.cancelled"
	ActionDownloadExpired          = "download.expired"
	ActionTokenIssued              = "token.issued"
	ActionAccessRefused            = "access.refused"
	ActionDownloadRefused          = "download.refused"
	ActionCertificateDownloaded    = "cert.downloaded"
	ActionDownloadInterrupted      = "download.interrupted"
	ActionDownloadUnconfirmed      = "download.unconfirmed"
	ActionTokenRevoked             = "token.revoked"
	ActionTokenExpired             = "token.expired"
	ActionCertificateImported      = "cert.imported"
	ActionPolicyUpdated            = "policy.updated"
	ActionMemberUpdated            = "member.updated"
	ActionMemberRemoved            = "member.removed"
	ActionAPIKeyCreated            = "api_key.created"
	ActionAPIKeyRevoked            = "api_key.revoked"
	ActionUserCreated              = "user.created"
	ActionUserChanged              = "user.changed"
	ActionPasswordSet              = "user.password_set"
	ActionSessionOpened            = "session.opened"
	ActionSessionClosed            = "session.closed"
	ActionSessionsClosedEverywhere = "session.closed_everywhere"
	ActionUserSignedOut            = "user.signed_out"
	ActionProjectCreated           = "project.created"
	ActionLoginFailed              = "login.failed"
	ActionPluginReloaded           = "plugin.reloaded"
	ActionTargetCreated            = "notification_target.created"
	ActionTargetDeleted            = "notification_target.deleted"
	ActionTargetTested             = "notification_target.tested"
	ActionReuseNotified            = "token.reuse_notified"
	ActionBackupStarted            = "backup.started"
)

// Outcomes of an audited action.
const (
	AuditSuccess = "success"
	AuditRefused = "refused"
	AuditFailed  = "failed"
	AuditUnknown = "unknown"
)

// AuditEntry is one link of a project's hash chain. Seq starts at 1 and has no
// gaps. Hash covers every other member, PrevHash included; it is an HMAC-SHA-256
// (RFC 2104) under the installation's audit key, so that whoever rewrites the
// database cannot compute it. Ref is unique within the store: writing an entry again
// with the same Ref changes nothing. Documents are those that were written with the
// entry.
type AuditEntry struct {
	Ref           string            `json:"ref"`
	ProjectID     string            `json:"project_id"`
	Seq           int64             `json:"seq"`
	Time          time.Time         `json:"time"`
	Action        string            `json:"action"`
	Outcome       string            `json:"outcome"`
	Actor         Actor             `json:"actor"`
	IP            string            `json:"ip"`
	UserAgent     string            `json:"user_agent"`
	CertificateID string            `json:"certificate_id"`
	RequestID     string            `json:"request_id"`
	Format        string            `json:"format"`
	Detail        map[string]string `json:"detail"`
	Documents     []DocumentDigest  `json:"documents,omitempty"`
	PrevHash      string            `json:"prev_hash"`
	Hash          string            `json:"hash"`
}

// AuditHead is the last link of a chain; the zero value is an empty chain.
type AuditHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// Link appends e to the chain that ends with head, and returns the new head. Bytes
// that are not UTF-8, for example in a header that an unauthenticated caller sent, become U+FFFD
// first, so that the entry has the same hash when a store returns it.
func (e *AuditEntry) Link(key []byte, head AuditHead) AuditHead {
	var clean AuditEntry
	if err := json.Unmarshal(e.encode(), &clean); err != nil {
		panic(err) // what was encoded from the type always decodes into it
	}
	*e = clean
	e.Seq, e.PrevHash = head.Seq+1, head.Hash
	e.Time = NormalizeTime(e.Time)
	e.Hash = e.digest(key)
	return AuditHead{Seq: e.Seq, Hash: e.Hash}
}

// digest is the HMAC-SHA-256 of the entry's JSON without Hash, in hex. The
// encoding is canonical: members in the order of the type, map keys sorted.
func (e AuditEntry) digest(key []byte) string {
	e.Hash = ""
	if len(e.Detail) == 0 {
		e.Detail = nil // a store may keep either as the other
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(e.encode())
	return hex.EncodeToString(mac.Sum(nil))
}

func (e AuditEntry) encode() []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings, numbers and a time of this age always encode
	}
	return text
}

// Record is what a store writes together with a change: an audit entry and, if
// something happened to a certificate, its timeline event. Copies are entries about
// the same change in other chains.
type Record struct {
	Audit  AuditEntry
	Copies []AuditEntry
	Event  *Event
}

// Entries are all audit entries of the record.
func (r Record) Entries() []AuditEntry { return append([]AuditEntry{r.Audit}, r.Copies...) }

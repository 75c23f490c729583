package engine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	ActionProjectCreated           = "project.created"
	ActionLoginFailed              = "login.failed"
	ActionPluginReloaded           = "plugin.reloaded"
	ActionTargetCreated            = "notification_target.created"
	ActionTargetDeleted            = "notification_target.deleted"
	ActionTargetTested             = "notification_target.tested"
	ActionReuseNotified            = "token.reuse_notified"
)

// Outcomes of an audited action.
const (
	AuditSuccess = "success"
	AuditRefused = "refused"
	AuditFailed  = "failed"
)

// AuditEntry is one link of a project's hash chain. Seq starts at 1 and has no
// gaps. Hash covers every other member, PrevHash included; it is an HMAC-SHA-256
// (RFC 2104) under the installation's audit key, so that whoever rewrites the
// database cannot compute it. Ref is unique within the store: writing an entry again
// with the same Ref changes nothing.
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

// AuditVerification is the result of checking a chain. Problem says what is wrong
// with the first bad entry, BrokenAt its sequence number.
type AuditVerification struct {
	OK       bool
	Entries  int64
	Head     AuditHead
	BrokenAt int64
	Problem  string
}

const verifyPage = 1000

// AuditReader reads a chain in order; see [AuditLog].
type AuditReader interface {
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error)
}

// VerifyAudit checks a chain from its first entry, under the audit key, and finds
// every change, gap and reordering. It finds that entries are missing at the end only
// if a head that was stored elsewhere is given as anchor (zero for none).
func VerifyAudit(ctx context.Context, log AuditReader, key []byte, chain string, anchor AuditHead) (AuditVerification, error) {
	verdict := AuditVerification{OK: true}
	for {
		page, err := log.AuditAfter(ctx, chain, verdict.Head.Seq, verifyPage)
		if err != nil {
			return verdict, fmt.Errorf("verify audit chain: %w", err)
		}
		for _, entry := range page {
			if problem := entry.checkAfter(key, chain, verdict.Head, anchor); problem != "" {
				verdict.OK, verdict.BrokenAt, verdict.Problem = false, verdict.Head.Seq+1, problem
				return verdict, nil
			}
			verdict.Head = AuditHead{Seq: entry.Seq, Hash: entry.Hash}
			verdict.Entries++
		}
		if len(page) < verifyPage {
			break
		}
	}
	if anchor.Seq > verdict.Head.Seq {
		verdict.OK, verdict.BrokenAt = false, verdict.Head.Seq+1
		verdict.Problem = fmt.Sprintf("the chain ends before the anchored entry %d", anchor.Seq)
	}
	return verdict, nil
}

func (e AuditEntry) checkAfter(key []byte, chain string, head, anchor AuditHead) string {
	switch {
	case e.ProjectID != chain:
		return "the entry belongs to another chain"
	case e.Seq != head.Seq+1:
		return fmt.Sprintf("entry %d is missing: %d follows %d", head.Seq+1, e.Seq, head.Seq)
	case e.PrevHash != head.Hash:
		return "the entry does not name the hash of the one before it"
	case !hmac.Equal([]byte(e.digest(key)), []byte(e.Hash)):
		return "the entry was changed: its hash does not match"
	case e.Seq == anchor.Seq && e.Hash != anchor.Hash:
		return "the entry is not the anchored one"
	}
	return ""
}

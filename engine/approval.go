package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// KindDownloadKey is the one kind of approval there is.
const KindDownloadKey = "download_key"

// ApprovalStatus is where an approval stands: pending, then settled for good.
type ApprovalStatus string

// The states of an approval.
const (
	ApprovalPending   ApprovalStatus = "pending"
	ApprovalApproved  ApprovalStatus = "approved"
	ApprovalDenied    ApprovalStatus = "denied"
	ApprovalExpired   ApprovalStatus = "expired"
	ApprovalCancelled ApprovalStatus = "cancelled"
)

// Valid tells whether s is one of the states.
func (s ApprovalStatus) Valid() bool {
	return slices.Contains([]ApprovalStatus{ApprovalPending, ApprovalApproved, ApprovalDenied, ApprovalExpired, ApprovalCancelled}, s)
}

// Approval is what approvers decide about: exactly what would leave, to whom and
// why. Digest binds it to that. Its request's workflow is its only writer;
// Version grows with each write. Required is at least 1.
type Approval struct {
	ID          string              `json:"_id"`
	Version     int                 `json:"version"`
	Kind        string              `json:"kind"`
	ProjectID   string              `json:"project_id"`
	RequestID   string              `json:"request_id"`
	Requester   Actor               `json:"requester"`
	Certificate ApprovalCertificate `json:"certificate"`
	Format      string              `json:"format"`
	Filename    string              `json:"filename"`
	ContainsKey bool                `json:"contains_key"`
	Options     string              `json:"options"`
	Reason      string              `json:"reason"`
	Digest      string              `json:"digest"`
	Required    int                 `json:"required_approvals"`
	Status      ApprovalStatus      `json:"status"`
	Decisions   []Vote              `json:"decisions"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
	ExpiresAt   time.Time           `json:"expires_at"`
}

// ApprovalCertificate is the certificate as approvers were shown it.
type ApprovalCertificate struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Subject     string    `json:"subject"`
	SANs        []string  `json:"sans"`
	Fingerprint string    `json:"fingerprint_sha256"`
	NotAfter    time.Time `json:"not_after"`
}

// Decision is what an approver says.
type Decision string

// The decisions.
const (
	DecisionApprove Decision = "approve"
	DecisionDeny    Decision = "deny"
)

// Vote is one person's decision on an approval.
type Vote struct {
	Actor    Actor     `json:"actor"`
	Decision Decision  `json:"decision"`
	Comment  string    `json:"comment"`
	Time     time.Time `json:"time"`
}

// approvalOf opens the approval that a request waits for.
func approvalOf(r Request, c Certificate) *Approval {
	return &Approval{
		ID: r.ApprovalID, Version: 1, Kind: KindDownloadKey, ProjectID: r.ProjectID, RequestID: r.ID, Requester: r.Requester,
		Certificate: ApprovalCertificate{ID: c.ID, Name: c.Name, Subject: c.Subject, SANs: c.SANs, Fingerprint: c.Fingerprint, NotAfter: c.NotAfter},
		Format:      r.Format, Filename: r.Filename, ContainsKey: r.ContainsKey, Options: r.Options, Reason: r.Reason,
		Digest: approvalDigest(c, r.Requester, r.Format, r.Options, r.Reason), Required: r.RequiredApprovals,
		Status: ApprovalPending, Decisions: []Vote{}, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ExpiresAt: r.ApprovalExpiresAt,
	}
}

// approvalDigest binds an approval to certificate, format, options, requester
// (the person) and reason: the SHA-256 of them all, in hex.
func approvalDigest(c Certificate, requester Actor, format, options, reason string) string {
	leaf := sha256.Sum256(c.Leaf)
	return digest("approval", c.ProjectID, c.ID, hex.EncodeToString(leaf[:]), format, options, requester.Person, reason)
}

// Permits tells whether people approved that this certificate leaves as the
// token says: the approval is given, and its digest is that of what would leave.
func (a Approval) Permits(c Certificate, t Token) bool {
	return a.Status == ApprovalApproved && a.RequestID == t.RequestID && a.approvals() >= max(1, a.Required) &&
		a.Digest == approvalDigest(c, t.Requester, t.Format, t.Options, a.Reason)
}

// approvals is how many distinct people approved, the requester never among them.
func (a Approval) approvals() int {
	people := map[string]bool{}
	for _, v := range a.Decisions {
		if v.Decision == DecisionApprove && v.Actor.Person != a.Requester.Person {
			people[v.Actor.Person] = true
		}
	}
	return len(people)
}

// Refuse tells why somebody's decision cannot count at now, or nil: the person
// decides, whatever keys or roles they hold. It returns CodeSelfApproval,
// CodeAlreadyDecided or CodeNotPending.
func (a Approval) Refuse(by Actor, now time.Time) error {
	switch {
	case by.Person == "" || by.Person == a.Requester.Person:
		return Errorf(CodeSelfApproval, "nobody decides on their own request")
	case slices.ContainsFunc(a.Decisions, func(v Vote) bool { return v.Actor.Person == by.Person }):
		return Errorf(CodeAlreadyDecided, "you decided on this approval before")
	case a.Status != ApprovalPending:
		return Errorf(CodeNotPending, "this approval is %s", a.Status)
	case !now.Before(a.ExpiresAt):
		return Errorf(CodeNotPending, "this approval lapsed at %s", a.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// with counts a vote that Refuse let pass: one denial settles, and so does the
// last approval that was missing.
func (a Approval) with(v Vote) Approval {
	a.Decisions = append(slices.Clone(a.Decisions), v)
	switch {
	case v.Decision != DecisionApprove:
		return a.settled(ApprovalDenied, v.Time)
	case a.approvals() >= max(1, a.Required):
		return a.settled(ApprovalApproved, v.Time)
	}
	return a.settled(ApprovalPending, v.Time)
}

func (a Approval) settled(as ApprovalStatus, at time.Time) Approval {
	a.Version, a.Status, a.UpdatedAt = a.Version+1, as, at
	return a
}

const maxComment = 2000

// checkComment returns CodeCommentRequired for a denial that says nothing, or
// CodeInvalidRequest for one that says too much.
func (v Vote) checkComment() error {
	switch {
	case v.Decision == DecisionDeny && strings.TrimSpace(v.Comment) == "":
		return Errorf(CodeCommentRequired, "say in a comment why you deny")
	case utf8.RuneCountInString(v.Comment) > maxComment:
		return Errorf(CodeInvalidRequest, "comment has %d characters; at most %d are kept", utf8.RuneCountInString(v.Comment), maxComment)
	}
	return nil
}

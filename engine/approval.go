package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// ApprovalKindDownload is the kind of every approval, for formats with and without
// the private key. The public API fixes its value.
const ApprovalKindDownload = "download_key"

// ApprovalStatus is the state of an approval: pending, then settled, which is final.
type ApprovalStatus string

// The states of an approval.
const (
	ApprovalPending   ApprovalStatus = "pending"
	ApprovalApproved  ApprovalStatus = "approved"
	ApprovalDenied    ApprovalStatus = "denied"
	ApprovalExpired   ApprovalStatus = "expired"
	ApprovalCancelled ApprovalStatus = "cancelled"
)

// Valid reports whether s is one of the states.
func (s ApprovalStatus) Valid() bool {
	return slices.Contains([]ApprovalStatus{ApprovalPending, ApprovalApproved, ApprovalDenied, ApprovalExpired, ApprovalCancelled}, s)
}

// Approval is what approvers decide on: which file leaves, to which requester and
// why. Digest binds the approval to these. Its status follows from its request,
// which holds the votes; Version is the request's. Required is at least 1.
type Approval struct {
	ID          string              `json:"id"`
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
	QuorumNote  string              `json:"quorum_note"`
	CreatedAt   time.Time           `json:"created_at"`
	UpdatedAt   time.Time           `json:"updated_at"`
	ExpiresAt   time.Time           `json:"expires_at"`
}

// ApprovalCertificate is the certificate as the approvers see it. Of its alternative
// names, which number SANCount, and of its subject it has a summary, because each
// request stores one. Older approvals have all names, and no SANCount.
type ApprovalCertificate struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Subject     string    `json:"subject"`
	SANs        []string  `json:"sans"`
	SANCount    int       `json:"san_count"`
	Fingerprint string    `json:"fingerprint_sha256"`
	NotAfter    time.Time `json:"not_after"`
}

// Decision is what an approver decides.
type Decision string

// The decisions.
const (
	DecisionApprove Decision = "approve"
	DecisionDeny    Decision = "deny"
)

// Vote is one person's decision on an approval. ID distinguishes it from another
// attempt of the same person. Losses are what the person had lost before.
type Vote struct {
	ID       string    `json:"id"`
	Actor    Actor     `json:"actor"`
	Losses   Losses    `json:"losses"`
	Decision Decision  `json:"decision"`
	Comment  string    `json:"comment"`
	Time     time.Time `json:"time"`
}

// of is the approval in the state that its request gives it.
func (a Approval) of(r Request) Approval {
	a.Version, a.Decisions, a.QuorumNote, a.Status, a.UpdatedAt = r.Version, r.Decisions, r.QuorumNote, r.approvalStatus(), r.UpdatedAt
	if a.Decisions == nil {
		a.Decisions = []Vote{}
	}
	return a
}

// approvalStatus is the state of the request's approval.
func (r Request) approvalStatus() ApprovalStatus {
	switch {
	case slices.ContainsFunc(r.Decisions, func(v Vote) bool { return v.Decision != DecisionApprove }):
		return ApprovalDenied
	case !r.ClaimExpiresAt.IsZero():
		return ApprovalApproved
	case r.Status == StatusCancelled:
		return ApprovalCancelled
	case r.Status.Ended():
		return ApprovalExpired
	}
	return ApprovalPending
}

// approvers are the different people who approved. The requester never counts.
func approvers(requester Actor, decisions []Vote) map[string]bool {
	people := map[string]bool{}
	for _, v := range decisions {
		if v.Decision == DecisionApprove && v.Actor.Person != requester.Person {
			people[v.Actor.Person] = true
		}
	}
	return people
}

// approvalOf opens the approval that a request waits for.
func approvalOf(r Request, c PolicyCertificate) *Approval {
	a := Approval{
		ID: r.ApprovalID, Kind: ApprovalKindDownload, ProjectID: r.ProjectID, RequestID: r.ID, Requester: r.Requester,
		Certificate: ApprovalCertificate{
			ID: c.ID, Name: c.Name, Subject: TextSummary(c.Subject), SANs: NamesSummary(c.SANs), SANCount: len(c.SANs),
			Fingerprint: c.Fingerprint, NotAfter: c.NotAfter,
		},
		Format: r.Format, Filename: r.Filename, ContainsKey: r.ContainsKey, Options: r.Options, Reason: r.Reason,
		Digest: approvalDigest(r.ProjectID, c.ID, c.Fingerprint, r.Requester, r.Format, r.Options, r.Reason), Required: r.RequiredApprovals,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ApprovalExpiresAt,
	}.of(r)
	return &a
}

// approvalDigest binds an approval to certificate, format, options, requester
// (the person) and reason: the SHA-256 of them all, in hex.
func approvalDigest(projectID, certificateID, fingerprint string, requester Actor, format, options, reason string) string {
	return digest("approval", projectID, certificateID, fingerprint, format, options, requester.Person, reason)
}

// Permits reports whether the approval allows the token's file of this certificate:
// the approval is given, and its digest is the one of that file.
func (a Approval) Permits(c Certificate, t Token) bool {
	leaf := sha256.Sum256(c.Leaf)
	return a.Status == ApprovalApproved && a.RequestID == t.RequestID && len(approvers(a.Requester, a.Decisions)) >= max(1, a.Required) &&
		a.Digest == approvalDigest(c.ProjectID, c.ID, hex.EncodeToString(leaf[:]), t.Requester, t.Format, t.Options, a.Reason)
}

// checkOpen reports why no vote of a person can count at now, or nil. It is the
// person who counts, whatever API key or role they call with. It returns
// CodeSelfApproval, CodeAlreadyDecided or CodeNotPending.
func (a Approval) checkOpen(by Actor, now time.Time) error {
	voted := slices.ContainsFunc(a.Decisions, func(v Vote) bool { return v.Actor.Person == by.Person })
	open := a.Status == ApprovalPending && now.Before(a.ExpiresAt)
	switch err := checkVoter(a.Requester, by); {
	case err != nil:
		return err
	case open:
		return nil
	case voted:
		return errAlreadyDecided
	case a.Status != ApprovalPending:
		return Errorf(CodeNotPending, "this approval is %s", a.Status)
	}
	return Errorf(CodeNotPending, "this approval expired at %s", a.ExpiresAt.Format(time.RFC3339))
}

// CheckVoter is the part of checkOpen whose answer never changes.
func (r Request) CheckVoter(by Actor) error { return checkVoter(r.Requester, by) }

func checkVoter(requester, by Actor) error {
	if by.Person == "" || by.Person == requester.Person {
		return Errorf(CodeSelfApproval, "you cannot decide on your own request")
	}
	return nil
}

const maxComment = 2000

// checkComment returns CodeCommentRequired for a denial that says nothing, or
// CodeInvalidRequest for one that says too much.
func (v Vote) checkComment() error {
	switch {
	case v.Decision == DecisionDeny && strings.TrimSpace(v.Comment) == "":
		return Errorf(CodeCommentRequired, "a denial needs a comment that says why")
	case utf8.RuneCountInString(v.Comment) > maxComment:
		return Errorf(CodeInvalidRequest, "comment has %d characters; use at most %d", utf8.RuneCountInString(v.Comment), maxComment)
	}
	return nil
}

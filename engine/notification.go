package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"
)

// NotificationEvent is what people outside are told of.
type NotificationEvent string

// The events.
const (
	NotifyRequested NotificationEvent = "approval.requested"
	NotifyReminder  NotificationEvent = "approval.reminder"
	NotifyDecided   NotificationEvent = "approval.decided"
	NotifyExpired   NotificationEvent = "approval.expired"
	NotifyReused    NotificationEvent = "token.reused"
	// NotifyTest is sent on demand, whatever a target is subscribed to.
	NotifyTest NotificationEvent = "test"
)

// NotificationEvents are those that a target can be subscribed to.
var NotificationEvents = []NotificationEvent{NotifyRequested, NotifyReminder, NotifyDecided, NotifyExpired, NotifyReused}

// Valid tells whether a target can be subscribed to e.
func (e NotificationEvent) Valid() bool { return slices.Contains(NotificationEvents, e) }

// Notification is what is told of one event: the same to everybody, however
// often it is sent. ID stays the same across tries, so that a receiver can drop
// what it has. It never holds a token, a passphrase or a key; ExpiresAt is when
// the approval lapses, and URL is where people go to look at it.
type Notification struct {
	ID                string            `json:"id"`
	Event             NotificationEvent `json:"event"`
	ProjectID         string            `json:"project_id"`
	ProjectName       string            `json:"project_name"`
	RequestID         string            `json:"request_id,omitempty"`
	ApprovalID        string            `json:"approval_id,omitempty"`
	CertificateID     string            `json:"certificate_id,omitempty"`
	CertificateName   string            `json:"certificate_name,omitempty"`
	Format            string            `json:"format,omitempty"`
	Requester         Actor             `json:"requester"`
	Status            string            `json:"status,omitempty"`
	Reason            string            `json:"reason,omitempty"`
	Comment           string            `json:"comment,omitempty"`
	RequiredApprovals int               `json:"required_approvals,omitempty"`
	Time              time.Time         `json:"time"`
	ExpiresAt         time.Time         `json:"expires_at,omitzero"`
	URL               string            `json:"url,omitempty"`
}

// notificationID names the notification of an event about a subject.
func notificationID(event NotificationEvent, subject string) string {
	return "ntf_" + digest("notification", string(event), subject)[:32]
}

// NotificationTarget is where a project sends notifications. Sealed holds its
// URL and, for a webhook, the secret that signs; Address is the URL's scheme and
// host, all of it that is shown. A Personal target reaches people one by one:
// the people whom an event concerns.
type NotificationTarget struct {
	ID        string              `json:"id"`
	ProjectID string              `json:"project_id"`
	Name      string              `json:"name"`
	Events    []NotificationEvent `json:"events"`
	Address   string              `json:"address"`
	Personal  bool                `json:"personal"`
	Sealed    SealedKey           `json:"sealed"`
	CreatedBy Actor               `json:"created_by"`
	CreatedAt time.Time           `json:"created_at"`
}

// NotificationTargets keeps the targets.
type NotificationTargets interface {
	// CreateNotificationTarget returns CodeExists when the id is taken.
	CreateNotificationTarget(ctx context.Context, t NotificationTarget, rec Record) error
	NotificationTarget(ctx context.Context, projectID, id string) (NotificationTarget, error)
	NotificationTargets(ctx context.Context, projectID string, page Page) ([]NotificationTarget, string, error)
	DeleteNotificationTarget(ctx context.Context, projectID, id string, rec Record) error
}

// Destination is an opened target. Signing is empty for what is no webhook;
// Recipient is the mail address of whom a personal target is to reach.
type Destination struct {
	URL       Secret
	Signing   Secret
	Recipient string
}

// DestinationKind is what a URL turns out to be. Address is its scheme and host.
type DestinationKind struct {
	Address  string
	Signed   bool
	Personal bool
}

// Notifier sends. It is safe for concurrent use, and its errors hold nothing of
// a URL but scheme and host.
type Notifier interface {
	// Check returns CodeInvalidRequest for a URL that is not understood or leads
	// to where nothing may be sent.
	Check(ctx context.Context, url Secret) (DestinationKind, error)
	// Send tries once, for a bounded time. It returns CodeInvalidRequest where
	// trying again is of no use; every other error may pass, such as that a host
	// has an address to which nothing may be sent.
	Send(ctx context.Context, to Destination, n Notification) error
}

// signingPrefix marks a secret of Standard Webhooks; base64 follows.
const signingPrefix = "whsec_"

// newSigningSecret makes 256 random bits in the form of Standard Webhooks.
func newSigningSecret() Secret {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // crypto/rand.Read never fails: it crashes the program instead
	return Secret(signingPrefix + base64.StdEncoding.EncodeToString(bits[:]))
}

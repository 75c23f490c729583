package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"
)

// NotificationEvent is an event that people can be notified of.
type NotificationEvent string

// The events.
const (
	NotifyRequested NotificationEvent = "approval.requested"
	NotifyReminder  NotificationEvent = "approval.reminder"
	NotifyDecided   NotificationEvent = "approval.decided"
	NotifyExpired   NotificationEvent = "approval.expired"
	NotifyReused    NotificationEvent = "token.reused"
	// NotifyTest is sent on demand to a target, whatever it is subscribed to.
	NotifyTest NotificationEvent = "test"
)

// NotificationEvents are the events that a target can be subscribed to.
var NotificationEvents = []NotificationEvent{NotifyRequested, NotifyReminder, NotifyDecided, NotifyExpired, NotifyReused}

// Valid reports whether a target can be subscribed to e.
func (e NotificationEvent) Valid() bool { return slices.Contains(NotificationEvents, e) }

// Notification is the message about one event: the same for every recipient,
// however often it is sent. ID stays the same across attempts, so that a receiver
// can drop a duplicate. It never contains a token, a passphrase or a private key.
// ExpiresAt is when the approval expires, and URL is its page.
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

// notificationID is the id of the notification of an event about a subject.
func notificationID(event NotificationEvent, subject string) string {
	return "ntf_" + digest("notification", string(event), subject)[:32]
}

// NotificationTarget is where a project sends notifications. Sealed holds its URL
// and, for a webhook, the signing secret. Address is the URL's scheme and host,
// which are the only parts that are shown. A Personal target, such as mail, sends to
// each user whom an event concerns.
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

// NotificationTargets stores notification targets.
type NotificationTargets interface {
	// CreateNotificationTarget returns CodeExists when the id is taken, and CodeConflict
	// when the project has limit targets already, however many callers add one.
	CreateNotificationTarget(ctx context.Context, t NotificationTarget, limit int, rec Record) error
	NotificationTarget(ctx context.Context, projectID, id string) (NotificationTarget, error)
	NotificationTargets(ctx context.Context, projectID string, page Page) ([]NotificationTarget, string, error)
	DeleteNotificationTarget(ctx context.Context, projectID, id string, rec Record) error
}

// Destination is an opened target. Signing is empty unless the target is a webhook;
// Recipient is a mail address, for a personal target.
type Destination struct {
	URL       Secret
	Signing   Secret
	Recipient string
}

// DestinationKind says what kind of target a URL is. Address is its scheme and host.
type DestinationKind struct {
	Address  string
	Signed   bool
	Personal bool
}

// Notifier sends messages. It is safe for concurrent use, and its errors contain
// nothing of a URL but its scheme and host.
type Notifier interface {
	// Check returns CodeInvalidRequest for a URL that is not valid or to which
	// nothing may be sent.
	Check(ctx context.Context, url Secret) (DestinationKind, error)
	// Send makes one attempt, which takes a bounded time. It returns
	// CodeInvalidRequest if another attempt cannot succeed. Every other error may
	// pass, such as a host name that resolves to an address to which nothing may
	// be sent.
	Send(ctx context.Context, to Destination, n Notification) error
}

// signingPrefix begins a signing secret of Standard Webhooks; base64 follows.
const signingPrefix = "whsec_"

// newSigningSecret makes 256 random bits in the form of Standard Webhooks.
func newSigningSecret() Secret {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // crypto/rand.Read never fails: it crashes the program instead
	return Secret(signingPrefix + base64.StdEncoding.EncodeToString(bits[:]))
}

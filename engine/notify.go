package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Notifications notifies users outside of Countersign: this file decides about which
// events, delivery.go which users, and notification_target.go at which addresses. PublicURL may be empty;
// all other fields must be set.
type Notifications struct {
	Store     NotificationStore
	Keys      Keys
	Notifier  Notifier
	PublicURL string
	Clock     Clock
	Log       *slog.Logger
}

// NotificationStore is what [Notifications] reads and writes; [Store] documents
// the methods.
type NotificationStore interface {
	NotificationTargets
	Project(ctx context.Context, id string) (Project, error)
	Certificate(ctx context.Context, projectID, id string) (Certificate, error)
	Request(ctx context.Context, projectID, id string) (Request, error)
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	User(ctx context.Context, id string) (User, error)
	Member(ctx context.Context, projectID, userID string) (Member, error)
	Members(ctx context.Context, projectID string, page Page) ([]Member, string, error)
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
	Append(ctx context.Context, e AuditEntry) error
}

// Dispatch starts the delivery of a notification to its targets and does not wait
// for them. A notification whose delivery was started before is not sent again.
type Dispatch func(ctx context.Context, n Notification) error

// ApprovalRequested notifies approvers of a request that needs approval.
func (n *Notifications) ApprovalRequested(ctx context.Context, r Request, dispatch Dispatch) error {
	if r.Status != StatusPendingApproval {
		return nil
	}
	return n.announceApproval(ctx, NotifyRequested, r, dispatch)
}

// settledEvents is the event of each settled approval. An approval that its
// requester cancelled has none.
var settledEvents = map[ApprovalStatus]NotificationEvent{
	ApprovalApproved: NotifyDecided, ApprovalDenied: NotifyDecided, ApprovalExpired: NotifyExpired,
}

// WantsApprovalSettled reports whether a target is subscribed to what became of the
// request's approval.
func (n *Notifications) WantsApprovalSettled(ctx context.Context, r Request) (bool, error) {
	if r.ApprovalID == "" || settledEvents[r.approvalStatus()] == "" {
		return false, nil
	}
	return n.hasTargets(ctx, r.ProjectID, settledEvents[r.approvalStatus()])
}

// ApprovalSettled notifies people of a request's approval, which is settled.
func (n *Notifications) ApprovalSettled(ctx context.Context, r Request, dispatch Dispatch) error {
	return n.announceApproval(ctx, settledEvents[r.approvalStatus()], r, dispatch)
}

// minLifeForReminder is the shortest life of an approval that gets a reminder.
const minLifeForReminder = time.Minute

// RemindAt is when three quarters of the approval's life are over; ok is false for
// a life that is too short for a reminder.
func (r Request) RemindAt() (at time.Time, ok bool) {
	life := r.ApprovalExpiresAt.Sub(r.CreatedAt)
	return r.CreatedAt.Add(life / 4 * 3), life >= minLifeForReminder
}

// RemindApprovers notifies approvers again, if the request still waits for them.
func (n *Notifications) RemindApprovers(ctx context.Context, r Request, dispatch Dispatch) error {
	stored, err := n.Store.Request(ctx, r.ProjectID, r.ID)
	if err != nil {
		return fmt.Errorf("remind: %w", err)
	}
	if stored.Status != StatusPendingApproval {
		return nil
	}
	return n.announceApproval(ctx, NotifyReminder, stored, dispatch)
}

// TokenReused notifies people that a consumed token was tried again, once for each
// token. An audit entry says that they were notified.
func (n *Notifications) TokenReused(ctx context.Context, t Token, dispatch Dispatch) error {
	if wanted, err := n.hasTargets(ctx, t.ProjectID, NotifyReused); err != nil || !wanted {
		return err
	}
	// A request has at most one consumed token.
	earlier, _, err := n.Store.AuditEntries(ctx, AuditQuery{ProjectID: t.ProjectID, RequestID: t.RequestID, Action: ActionReuseNotified, Page: Page{Limit: 1}})
	if err != nil || len(earlier) > 0 {
		return err
	}
	certificate, err := n.Store.Certificate(ctx, t.ProjectID, t.CertificateID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("notify of a reused token: %w", err)
	}
	now := n.Clock()
	out := Notification{
		ID: notificationID(NotifyReused, t.Digest), Event: NotifyReused, ProjectID: t.ProjectID, RequestID: t.RequestID, ApprovalID: t.ApprovalID,
		CertificateID: t.CertificateID, CertificateName: certificate.Name, Format: t.Format, Requester: t.Requester, Time: now,
	}
	if err := n.complete(ctx, out, dispatch); err != nil {
		return err
	}
	return n.Store.Append(ctx, AuditEntry{
		Ref: "reuse-notified/" + t.Digest, ProjectID: t.ProjectID, Time: now, Action: ActionReuseNotified, Outcome: AuditSuccess, Actor: System,
		CertificateID: t.CertificateID, RequestID: t.RequestID, Format: t.Format, Detail: map[string]string{"notification_id": out.ID},
	})
}

// announceApproval dispatches an event of a request's approval, if a target is
// subscribed to the event.
func (n *Notifications) announceApproval(ctx context.Context, event NotificationEvent, r Request, dispatch Dispatch) error {
	if wanted, err := n.hasTargets(ctx, r.ProjectID, event); err != nil || !wanted {
		return err
	}
	a, err := n.Store.Approval(ctx, r.ProjectID, r.ApprovalID)
	if err != nil {
		return fmt.Errorf("notify of an approval: %w", err)
	}
	a = a.of(r)
	out := Notification{
		ID: notificationID(event, a.ID), Event: event, ProjectID: a.ProjectID, RequestID: a.RequestID, ApprovalID: a.ID,
		CertificateID: a.Certificate.ID, CertificateName: a.Certificate.Name, Format: a.Format, Requester: a.Requester,
		Status: string(a.Status), Reason: a.Reason, Time: a.UpdatedAt,
	}
	if a.Status == ApprovalPending {
		out.RequiredApprovals, out.ExpiresAt = a.Required, a.ExpiresAt
	}
	if last := len(a.Decisions) - 1; event == NotifyDecided && last >= 0 {
		out.Comment = a.Decisions[last].Comment
	}
	return n.complete(ctx, out, dispatch)
}

// complete adds the project's name and a link, and dispatches the notification.
func (n *Notifications) complete(ctx context.Context, out Notification, dispatch Dispatch) error {
	project, err := n.Store.Project(ctx, out.ProjectID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("notify of %s: %w", out.Event, err)
	}
	out.ProjectName = project.Name
	if n.PublicURL != "" && out.ApprovalID != "" {
		out.URL = n.PublicURL + "/projects/" + out.ProjectID + "/approvals/" + out.ApprovalID
	}
	return dispatch(ctx, out)
}

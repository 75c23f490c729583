package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Notifications tells people outside what happened: in this file, what is told;
// in deliver.go, to whom; in target.go, where to. PublicURL may be empty; all
// other fields must be set.
type Notifications struct {
	Store     Store
	Keys      Keys
	Notifier  Notifier
	PublicURL string
	Clock     Clock
	Log       *slog.Logger
}

// Tell sees to it that a notification reaches its targets, without waiting for
// them. Told again of the same, it does nothing.
type Dispatch func(ctx context.Context, n Notification) error

// Opened asks approvers to decide, where people must.
func (n *Notifications) ApprovalRequested(ctx context.Context, r Request, tell Dispatch) error {
	if r.Status != StatusPendingApproval {
		return nil
	}
	return n.announceApproval(ctx, NotifyRequested, r, tell)
}

// settling is the event of an approval that is settled: what its requester
// withdrew is told to nobody.
var settling = map[ApprovalStatus]NotificationEvent{
	ApprovalApproved: NotifyDecided, ApprovalDenied: NotifyDecided, ApprovalExpired: NotifyExpired,
}

// Wants tells whether somebody is to hear that a request's approval is settled.
func (n *Notifications) WantsApprovalSettled(ctx context.Context, r Request) (bool, error) {
	if r.ApprovalID == "" || settling[r.approvalStatus()] == "" {
		return false, nil
	}
	return n.hasTargets(ctx, r.ProjectID, settling[r.approvalStatus()])
}

// Settled tells of a request's approval, which is settled.
func (n *Notifications) ApprovalSettled(ctx context.Context, r Request, tell Dispatch) error {
	return n.announceApproval(ctx, settling[r.approvalStatus()], r, tell)
}

// leastForReminder is the shortest life in which an approval is reminded of.
const leastForReminder = time.Minute

// RemindAt is when three quarters of an approval's life are over; ok is false
// for a life too short to be reminded in.
func (r Request) RemindAt() (at time.Time, ok bool) {
	life := r.ApprovalExpiresAt.Sub(r.CreatedAt)
	return r.CreatedAt.Add(life / 4 * 3), life >= leastForReminder
}

// Remind asks approvers again, if the request still waits for them.
func (n *Notifications) RemindApprovers(ctx context.Context, r Request, tell Dispatch) error {
	stored, err := n.Store.Request(ctx, r.ProjectID, r.ID)
	if err != nil {
		return fmt.Errorf("remind: %w", err)
	}
	if stored.Status != StatusPendingApproval {
		return nil
	}
	return n.announceApproval(ctx, NotifyReminder, stored, tell)
}

// Reused tells that a consumed token was tried again, once for each token; that
// it was told is on record.
func (n *Notifications) TokenReused(ctx context.Context, t Token, tell Dispatch) error {
	if wanted, err := n.hasTargets(ctx, t.ProjectID, NotifyReused); err != nil || !wanted {
		return err
	}
	// A request has at most one consumed token.
	told, _, err := n.Store.AuditEntries(ctx, AuditQuery{ProjectID: t.ProjectID, RequestID: t.RequestID, Action: ActionReuseNotified, Page: Page{Limit: 1}})
	if err != nil || len(told) > 0 {
		return err
	}
	certificate, err := n.Store.Certificate(ctx, t.ProjectID, t.CertificateID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("tell of a reused token: %w", err)
	}
	now := n.Clock()
	out := Notification{
		ID: notificationID(NotifyReused, t.Digest), Event: NotifyReused, ProjectID: t.ProjectID, RequestID: t.RequestID, ApprovalID: t.ApprovalID,
		CertificateID: t.CertificateID, CertificateName: certificate.Name, Format: t.Format, Requester: t.Requester, Time: now,
	}
	if err := n.dispatch(ctx, out, tell); err != nil {
		return err
	}
	return n.Store.Append(ctx, AuditEntry{
		Ref: "reuse-told/" + t.Digest, ProjectID: t.ProjectID, Time: now, Action: ActionReuseNotified, Outcome: AuditSuccess, Actor: System,
		CertificateID: t.CertificateID, RequestID: t.RequestID, Format: t.Format, Detail: map[string]string{"notification_id": out.ID},
	})
}

// announce tells of a request's approval, if anybody wants to hear of the event.
func (n *Notifications) announceApproval(ctx context.Context, event NotificationEvent, r Request, tell Dispatch) error {
	if wanted, err := n.hasTargets(ctx, r.ProjectID, event); err != nil || !wanted {
		return err
	}
	a, err := n.Store.Approval(ctx, r.ProjectID, r.ApprovalID)
	if err != nil {
		return fmt.Errorf("tell of an approval: %w", err)
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
	return n.dispatch(ctx, out, tell)
}

// tell adds what people know a notification by.
func (n *Notifications) dispatch(ctx context.Context, out Notification, tell Dispatch) error {
	project, err := n.Store.Project(ctx, out.ProjectID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("tell of %s: %w", out.Event, err)
	}
	out.ProjectName = project.Name
	if n.PublicURL != "" && out.ApprovalID != "" {
		out.URL = n.PublicURL + "/projects/" + out.ProjectID + "/approvals/" + out.ApprovalID
	}
	return tell(ctx, out)
}

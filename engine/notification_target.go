package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CreateTarget adds a target to the caller's project. The signing secret of a
// webhook is returned here and never again; other targets have none. A URL to
// which nothing may be sent is CodeInvalidRequest.
func (n *Notifications) CreateTarget(ctx context.Context, by Caller, name string, url Secret, events []NotificationEvent) (NotificationTarget, Secret, error) {
	t := NotificationTarget{ID: NewID("target"), ProjectID: by.Project.ID, Name: name, CreatedBy: by.Actor(), CreatedAt: n.Clock()}
	if err := checkName("name", name); err != nil {
		return t, "", err
	}
	if len(events) == 0 {
		return t, "", Errorf(CodeInvalidRequest, "events is empty; name at least one event")
	}
	for _, e := range events {
		if !e.Valid() {
			return t, "", Errorf(CodeInvalidRequest, "events contains %q, which is not an event; use %v", e, NotificationEvents)
		}
	}
	t.Events = slices.Compact(slices.Sorted(slices.Values(events)))
	kind, err := n.Notifier.Check(ctx, url)
	if err != nil {
		return t, "", err
	}
	var signing Secret
	if kind.Signed {
		signing = newSigningSecret()
	}
	t.Address, t.Personal = kind.Address, kind.Personal
	if t.Sealed, err = n.Keys.Seal(ctx, t.identity(), []byte(url.Reveal()+"\n"+signing.Reveal())); err != nil {
		return t, "", fmt.Errorf("create notification target: %w", err)
	}
	err = n.Store.CreateNotificationTarget(ctx, t, maxTargets, t.record(by, t.CreatedAt, ActionTargetCreated).writes(t.document()))
	if errors.Is(err, CodeConflict) {
		err = Errorf(CodeInvalidRequest, "this project has %d notification targets, which is the limit; delete one first", maxTargets)
	}
	return t, signing, err
}

// DeleteTarget removes a target of the caller's project. Messages that are still to
// be delivered to it are not sent.
func (n *Notifications) DeleteTarget(ctx context.Context, by Caller, id string) error {
	t, err := n.Store.NotificationTarget(ctx, by.Project.ID, id)
	if err != nil {
		return err
	}
	return n.Store.DeleteNotificationTarget(ctx, t.ProjectID, id, t.record(by, n.Clock(), ActionTargetDeleted).writes(removed(tableTargets, id)))
}

// TestTarget sends a test message, once, and returns whether it was sent or what
// went wrong. A personal target sends it to the caller.
func (n *Notifications) TestTarget(ctx context.Context, by Caller, id string) (sent bool, problem string, err error) {
	t, err := n.Store.NotificationTarget(ctx, by.Project.ID, id)
	if err != nil {
		return false, "", err
	}
	destination, err := n.destination(ctx, t)
	if err != nil {
		return false, "", err
	}
	destination.Recipient = by.User.Email
	rec := t.record(by, n.Clock(), ActionTargetTested)
	err = n.Notifier.Send(ctx, destination, Notification{
		ID: NewID("ntf"), Event: NotifyTest, ProjectID: by.Project.ID, ProjectName: by.Project.Name, Requester: by.Actor(), Time: rec.Audit.Time,
	})
	if e, ok := errors.AsType[*Error](err); ok {
		problem, rec.Audit.Outcome = e.Detail, AuditFailed
	} else if err != nil {
		return false, "", err
	}
	return problem == "", problem, n.Store.Append(ctx, rec.Audit)
}

// identity binds the sealed URL and secret to the target.
func (t NotificationTarget) identity() string {
	return "notification-target/" + t.ProjectID + "/" + t.ID
}

// destination opens the sealed URL and secret of a target.
func (n *Notifications) destination(ctx context.Context, t NotificationTarget) (Destination, error) {
	text, err := n.Keys.Open(ctx, t.identity(), t.Sealed)
	if err != nil {
		return Destination{}, fmt.Errorf("open notification target: %w", err)
	}
	url, signing, _ := strings.Cut(string(text), "\n")
	return Destination{URL: Secret(url), Signing: Secret(signing)}, nil
}

// record is the audit entry of a caller's action on a target.
func (t NotificationTarget) record(by Caller, at time.Time, action string) Record {
	e := by.Entry(at, action)
	e.Detail = map[string]string{"target_id": t.ID, "name": t.Name, "address": t.Address}
	return Record{Audit: e}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CreateTarget adds a target to the caller's project. Its signing secret, empty
// for what is no webhook, is returned here and nowhere again. A URL that leads
// nowhere that may be sent to is CodeInvalidRequest.
func (n *Notifications) CreateTarget(ctx context.Context, by Caller, name string, url Secret, events []NotificationEvent) (NotificationTarget, Secret, error) {
	t := NotificationTarget{ID: NewID("target"), ProjectID: by.Project.ID, Name: name, CreatedBy: by.Actor(), CreatedAt: n.Clock()}
	if err := checkName("name", name); err != nil {
		return t, "", err
	}
	if len(events) == 0 {
		return t, "", Errorf(CodeInvalidRequest, "events must name at least one event")
	}
	for _, e := range events {
		if !e.Valid() {
			return t, "", Errorf(CodeInvalidRequest, "events holds %q; there are %v", e, NotificationEvents)
		}
	}
	t.Events = slices.Compact(slices.Sorted(slices.Values(events)))
	if all, _, err := n.Store.NotificationTargets(ctx, t.ProjectID, Page{Limit: maxTargets}); err != nil {
		return t, "", err
	} else if len(all) >= maxTargets {
		return t, "", Errorf(CodeInvalidRequest, "a project has at most %d notification targets", maxTargets)
	}
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
	return t, signing, n.Store.CreateNotificationTarget(ctx, t, t.record(by, t.CreatedAt, ActionTargetCreated))
}

// DeleteTarget removes a target of the caller's project; what is on its way to
// it is dropped.
func (n *Notifications) DeleteTarget(ctx context.Context, by Caller, id string) error {
	t, err := n.Store.NotificationTarget(ctx, by.Project.ID, id)
	if err != nil {
		return err
	}
	return n.Store.DeleteNotificationTarget(ctx, t.ProjectID, id, t.record(by, n.Clock(), ActionTargetDeleted))
}

// TestTarget sends a test message, once, and returns what came of it. A personal
// target sends it to the caller.
func (n *Notifications) TestTarget(ctx context.Context, by Caller, id string) (sent bool, problem string, err error) {
	t, err := n.Store.NotificationTarget(ctx, by.Project.ID, id)
	if err != nil {
		return false, "", err
	}
	destination, err := n.open(ctx, t)
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

// identity binds what is sealed to its target.
func (t NotificationTarget) identity() string {
	return "notification-target/" + t.ProjectID + "/" + t.ID
}

func (n *Notifications) open(ctx context.Context, t NotificationTarget) (Destination, error) {
	text, err := n.Keys.Open(ctx, t.identity(), t.Sealed)
	if err != nil {
		return Destination{}, fmt.Errorf("open notification target: %w", err)
	}
	url, signing, _ := strings.Cut(string(text), "\n")
	return Destination{URL: Secret(url), Signing: Secret(signing)}, nil
}

// record is the audit entry of what the caller did to a target.
func (t NotificationTarget) record(by Caller, at time.Time, action string) Record {
	e := by.Entry(at, action)
	e.Detail = map[string]string{"target_id": t.ID, "name": t.Name, "address": t.Address}
	return Record{Audit: e}
}

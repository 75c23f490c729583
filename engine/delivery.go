package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Delivery is one message of a notification: to one target and, if the target is
// personal, to one person. It holds neither URL nor mail address, which are read
// when it is sent.
type Delivery struct {
	TargetID string `json:"target_id"`
	Person   string `json:"person,omitempty"`
}

// maxTargets bounds a project's targets, maxPeople the recipients of one event at
// a personal target.
const (
	maxTargets = 50
	maxPeople  = 200
)

func (n *Notifications) hasTargets(ctx context.Context, projectID string, event NotificationEvent) (bool, error) {
	targets, err := n.targets(ctx, projectID, event)
	return len(targets) > 0, err
}

// targets lists a project's targets that are subscribed to an event.
func (n *Notifications) targets(ctx context.Context, projectID string, event NotificationEvent) ([]NotificationTarget, error) {
	all, _, err := n.Store.NotificationTargets(ctx, projectID, Page{Limit: maxTargets})
	if err != nil {
		return nil, fmt.Errorf("list notification targets: %w", err)
	}
	return slices.DeleteFunc(all, func(t NotificationTarget) bool { return !slices.Contains(t.Events, event) }), nil
}

// Deliveries lists the deliveries of a notification.
func (n *Notifications) Deliveries(ctx context.Context, out Notification) ([]Delivery, error) {
	targets, err := n.targets(ctx, out.ProjectID, out.Event)
	if err != nil {
		return nil, err
	}
	var people []string
	if slices.ContainsFunc(targets, func(t NotificationTarget) bool { return t.Personal }) {
		if people, err = n.recipients(ctx, out); err != nil {
			return nil, err
		}
	}
	var all []Delivery
	for _, t := range targets {
		if !t.Personal {
			all = append(all, Delivery{TargetID: t.ID})
			continue
		}
		for _, person := range people {
			all = append(all, Delivery{TargetID: t.ID, Person: person})
		}
	}
	return all, nil
}

// recipients are the people whom an event concerns: the approvers without the
// requester; the requester; or, if a token may have been stolen, the requester and
// the admins.
func (n *Notifications) recipients(ctx context.Context, out Notification) ([]string, error) {
	requester := out.Requester.Person
	switch out.Event {
	case NotifyRequested, NotifyReminder:
		people, err := n.members(ctx, out.ProjectID, RoleApprover)
		return slices.DeleteFunc(people, func(p string) bool { return p == requester }), err
	case NotifyReused:
		people, err := n.members(ctx, out.ProjectID, RoleAdmin)
		if !slices.Contains(people, requester) {
			people = append(people, requester)
		}
		return people, err
	}
	return []string{requester}, nil
}

// members lists the people with at least a role in a project, in no order.
func (n *Notifications) members(ctx context.Context, projectID string, least Role) (people []string, err error) {
	for page := (Page{Limit: maxPeople}); ; {
		members, next, err := n.Store.Members(ctx, projectID, page)
		if err != nil {
			return nil, fmt.Errorf("list members to notify: %w", err)
		}
		for _, m := range members {
			if m.Role.Includes(least) && len(people) < maxPeople {
				people = append(people, m.UserID)
			}
		}
		if next == "" || len(people) == maxPeople {
			return people, nil
		}
		page.Cursor = next
	}
}

// Deliver sends one message, once. A target or person that no longer exists is no
// error. CodeInvalidRequest is permanent; another attempt may succeed after every
// other error.
func (n *Notifications) Deliver(ctx context.Context, out Notification, to Delivery) error {
	t, err := n.Store.NotificationTarget(ctx, out.ProjectID, to.TargetID)
	if errors.Is(err, CodeNotFound) {
		n.Log.InfoContext(ctx, "a notification was not sent because its target was deleted", "notification", out.ID, "target", to.TargetID)
		return nil
	}
	if err != nil {
		return fmt.Errorf("deliver: %w", err)
	}
	destination, err := n.destination(ctx, t)
	if err != nil {
		return err
	}
	if t.Personal {
		if destination.Recipient, err = n.addressOf(ctx, out, to.Person); err != nil || destination.Recipient == "" {
			return err
		}
	}
	return n.Notifier.Send(ctx, destination, out)
}

// leastRole is the role that a person must have in the project to be notified. The
// requester is notified of their own request in any role.
func leastRole(out Notification, person string) Role {
	switch {
	case out.Event == NotifyRequested || out.Event == NotifyReminder:
		return RoleApprover
	case out.Event == NotifyReused && person != out.Requester.Person:
		return RoleAdmin
	}
	return RoleViewer
}

// addressOf is a person's mail address. It is empty for a person who has none, who
// is disabled, or who left the project or lost the role after the list was made.
func (n *Notifications) addressOf(ctx context.Context, out Notification, person string) (string, error) {
	u, err := n.Store.User(ctx, person)
	if errors.Is(err, CodeNotFound) || err == nil && u.Disabled {
		return "", nil
	}
	var member Member
	if err == nil {
		member, err = n.Store.Member(ctx, out.ProjectID, person)
	}
	if err != nil && !errors.Is(err, CodeNotFound) {
		return "", fmt.Errorf("deliver: %w", err)
	}
	if !(Principal{User: u}).RoleIn(out.ProjectID, member).Includes(leastRole(out, person)) {
		return "", nil
	}
	return u.Email, nil
}

package api

import (
	"context"
	"net/http"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// targetReader reads notification targets.
type targetReader interface {
	NotificationTargets(ctx context.Context, projectID string, page engine.Page) ([]engine.NotificationTarget, string, error)
}

type targetInput struct{ Body wire.NotificationTargetBody }

type targetIDInput struct {
	ID string `path:"tid"`
}

type newTargetOutput struct {
	Body wire.NewNotificationTarget
}

type targetTestOutput struct{ Body wire.NotificationTest }

func (s *Server) notificationEndpoints() {
	register(s, endpoint{
		id: "list-notification-targets", method: http.MethodGet, path: base + "/projects/{pid}/notification-targets",
		access: role(engine.RoleAdmin), tag: "Notifications", summary: "List notification targets",
	}, s.listTargets)
	register(s, endpoint{
		id: "create-notification-target", method: http.MethodPost, path: base + "/projects/{pid}/notification-targets",
		access: role(engine.RoleAdmin), tag: "Notifications", summary: "Add a notification target",
		description: "Private, loopback and metadata addresses are refused unless the installation's configuration allows the host by name.",
		status:      http.StatusCreated,
	}, s.createTarget)
	register(s, endpoint{
		id: "delete-notification-target", method: http.MethodDelete, path: base + "/projects/{pid}/notification-targets/{tid}",
		access: role(engine.RoleAdmin), tag: "Notifications", summary: "Delete a notification target",
		description: "Notifications that were not delivered yet are dropped.",
	}, s.deleteTarget)
	register(s, endpoint{
		id: "test-notification-target", method: http.MethodPost, path: base + "/projects/{pid}/notification-targets/{tid}/test",
		access: role(engine.RoleAdmin), tag: "Notifications", summary: "Send a test message",
		description: "One attempt; the answer has its result.",
	}, s.testTarget)
}

func (s *Server) listTargets(ctx context.Context, k *call, in *struct{ Paging }) (*listing[wire.NotificationTarget], error) {
	found, next, err := s.store.NotificationTargets(ctx, k.Project.ID, in.page())
	return listed(found, next, toTarget), err
}

func (s *Server) deleteTarget(ctx context.Context, k *call, in *targetIDInput) (*struct{}, error) {
	if !ids.MatchString(in.ID) {
		return nil, engine.CodeNotFound
	}
	return nil, s.notifications.DeleteTarget(ctx, k.Caller, in.ID)
}

func (s *Server) createTarget(ctx context.Context, k *call, in *targetInput) (*newTargetOutput, error) {
	events := make([]engine.NotificationEvent, 0, len(in.Body.Events))
	for _, e := range in.Body.Events {
		events = append(events, engine.NotificationEvent(e))
	}
	t, signing, err := s.notifications.CreateTarget(ctx, k.Caller, in.Body.Name, engine.Secret(in.Body.URL.Reveal()), events)
	if err != nil {
		return nil, err
	}
	out := &newTargetOutput{wire.NewNotificationTarget{NotificationTarget: toTarget(t)}}
	if signing != "" {
		secret := wire.Secret(signing)
		out.Body.SigningSecret = &secret
	}
	return out, nil
}

func (s *Server) testTarget(ctx context.Context, k *call, in *targetIDInput) (*targetTestOutput, error) {
	if !ids.MatchString(in.ID) {
		return nil, engine.CodeNotFound
	}
	sent, problem, err := s.notifications.TestTarget(ctx, k.Caller, in.ID)
	return &targetTestOutput{wire.NotificationTest{Sent: sent, Problem: problem}}, err
}

func toTarget(t engine.NotificationTarget) wire.NotificationTarget {
	out := wire.NotificationTarget{
		ID: t.ID, Name: t.Name, URL: t.Address, Personal: t.Personal, CreatedBy: toActor(t.CreatedBy), CreatedAt: t.CreatedAt,
	}
	for _, e := range t.Events {
		out.Events = append(out.Events, string(e))
	}
	return out
}

package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/countersign-dev/countersign/engine"
)

// CreateNotificationTarget implements engine.NotificationTargets.
func (s *Store) CreateNotificationTarget(ctx context.Context, t engine.NotificationTarget, rec engine.Record) error {
	return s.create(ctx, s.db.Collection(targetsName), t, rec)
}

// NotificationTarget implements engine.NotificationTargets.
func (s *Store) NotificationTarget(ctx context.Context, projectID, id string) (engine.NotificationTarget, error) {
	return find[engine.NotificationTarget](ctx, s.db.Collection(targetsName), append(targetKey(projectID, id), notRemoved))
}

func targetKey(projectID, id string) bson.D {
	return bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}}
}

// NotificationTargets implements engine.NotificationTargets.
func (s *Store) NotificationTargets(ctx context.Context, projectID string, page engine.Page) ([]engine.NotificationTarget, string, error) {
	return list(ctx, s.db.Collection(targetsName), bson.D{{Key: "project_id", Value: projectID}, notRemoved}, page, "created_at",
		func(t engine.NotificationTarget) engine.Cursor { return engine.Cursor{Time: t.CreatedAt, ID: t.ID} })
}

// DeleteNotificationTarget implements engine.NotificationTargets.
func (s *Store) DeleteNotificationTarget(ctx context.Context, projectID, id string, rec engine.Record) error {
	return s.remove(ctx, s.db.Collection(targetsName), targetKey(projectID, id), rec)
}

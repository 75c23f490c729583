package sqlite

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// CreateNotificationTarget implements [engine.NotificationTargets].
func (s *Store) CreateNotificationTarget(ctx context.Context, t engine.NotificationTarget, limit int, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		n, err := count(ctx, tx, limit, "notification_targets WHERE project_id = ?", t.ProjectID)
		if err == nil && n >= limit {
			err = engine.CodeConflict
		}
		if err != nil {
			return err
		}
		return targets.create(tx, t)
	})
}

// NotificationTarget implements [engine.NotificationTargets].
func (s *Store) NotificationTarget(ctx context.Context, projectID, id string) (engine.NotificationTarget, error) {
	return targets.one(ctx, s.reading, ofProject(projectID, id)...)
}

// NotificationTargets implements [engine.NotificationTargets].
func (s *Store) NotificationTargets(ctx context.Context, projectID string, page engine.Page) ([]engine.NotificationTarget, string, error) {
	return list[engine.NotificationTarget](ctx, s.reading, page, byCreation, "notification_targets WHERE project_id = ?", projectID)
}

// DeleteNotificationTarget implements [engine.NotificationTargets].
func (s *Store) DeleteNotificationTarget(ctx context.Context, projectID, id string, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		n, err := tx.exec("DELETE FROM notification_targets WHERE id = ? AND project_id = ?", id, projectID)
		if err == nil && n == 0 {
			return engine.CodeNotFound
		}
		return err
	})
}

package mongo

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// targetDocument is a target in one of its project's places. A place has one target
// at a time, so that a project never has more targets than places.
type targetDocument struct {
	engine.NotificationTarget `bson:",inline"`
	Place                     string `json:"place"`
}

// CreateNotificationTarget implements engine.NotificationTargets.
func (s *Store) CreateNotificationTarget(ctx context.Context, t engine.NotificationTarget, limit int, rec engine.Record) error {
	c := s.db.Collection(targetsName)
	return s.change(rec, func() (bool, error) {
		for {
			place, err := s.freePlace(ctx, t, limit)
			if err != nil {
				return false, err
			}
			doc := targetDocument{t, place}
			stored, fresh, err := s.insert(ctx, c, doc, "place")
			if err != nil {
				return false, err
			}
			if id, _ := stored.Lookup("_id").StringValueOK(); id != t.ID {
				continue // another caller took the place
			}
			if !fresh {
				if err := sameOrExists(stored, doc); err != nil {
					return false, err
				}
			}
			return s.completeRecord(ctx, rec, fresh)
		}
	})
}

// freePlace is the place of a target if it has one already, or else a free one.
func (s *Store) freePlace(ctx context.Context, t engine.NotificationTarget, limit int) (string, error) {
	docs, err := findAll[targetDocument](ctx, s.db.Collection(targetsName), bson.D{{Key: "project_id", Value: t.ProjectID}},
		options.Find().SetProjection(bson.D{{Key: "place", Value: 1}}))
	if err != nil {
		return "", err
	}
	taken := map[string]bool{}
	for _, d := range docs {
		if d.ID == t.ID {
			return d.Place, nil
		}
		taken[d.Place] = true
	}
	for i := range limit {
		if place := fmt.Sprintf("%s/%d", t.ProjectID, i); !taken[place] {
			return place, nil
		}
	}
	return "", engine.CodeConflict
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

package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// CreateProject implements engine.Projects.
func (s *Store) CreateProject(ctx context.Context, p engine.Project, first engine.Member, rec engine.Record) error {
	return s.change(rec, func() (bool, error) {
		fresh, err := s.insertSame(ctx, s.db.Collection(projectsName), p)
		if err != nil {
			return false, err
		}
		// If the member exists already, perhaps with another role, it stays as it is.
		_, joined, err := s.insert(ctx, s.db.Collection(membersName), newMemberDocument(first))
		if err != nil {
			return false, err
		}
		return s.completeRecord(ctx, rec, fresh || joined)
	})
}

// Project implements engine.Projects.
func (s *Store) Project(ctx context.Context, id string) (engine.Project, error) {
	return find[engine.Project](ctx, s.db.Collection(projectsName), byID(id))
}

// Projects implements engine.Projects.
func (s *Store) Projects(ctx context.Context, memberID string, page engine.Page) ([]engine.Project, string, error) {
	filter := bson.D{}
	if memberID != "" {
		ids, err := s.projectsOf(ctx, memberID)
		if err != nil {
			return nil, "", err
		}
		filter = bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	}
	return list(ctx, s.db.Collection(projectsName), filter, page, "created_at", func(p engine.Project) engine.Cursor {
		return engine.Cursor{Time: p.CreatedAt, ID: p.ID}
	})
}

func (s *Store) projectsOf(ctx context.Context, userID string) ([]string, error) {
	members, err := findAll[memberDocument](ctx, s.db.Collection(membersName),
		bson.D{{Key: "user_id", Value: userID}, notRemoved}, options.Find().SetProjection(bson.D{{Key: "project_id", Value: 1}}))
	if err != nil {
		return nil, err
	}
	ids := []string{}
	for _, m := range members {
		ids = append(ids, m.ProjectID)
	}
	return ids, nil
}

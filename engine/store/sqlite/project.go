package sqlite

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// CreateProject implements [engine.Projects].
func (s *Store) CreateProject(ctx context.Context, p engine.Project, first engine.Member, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		if err := projects.create(tx, p); err != nil {
			return err
		}
		return tx.setMember(first)
	})
}

// Project implements [engine.Projects].
func (s *Store) Project(ctx context.Context, id string) (engine.Project, error) {
	return projects.one(ctx, s.reading, filter{"id", id})
}

// Projects implements [engine.Projects].
func (s *Store) Projects(ctx context.Context, memberID string, page engine.Page) ([]engine.Project, string, error) {
	if memberID == "" {
		return list[engine.Project](ctx, s.reading, page, byCreation, "projects WHERE true")
	}
	return list[engine.Project](ctx, s.reading, page, byCreation, "member_projects WHERE user_id = ?", memberID)
}

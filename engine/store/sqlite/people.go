package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// CreateUser implements [engine.People].
func (s *Store) CreateUser(ctx context.Context, u engine.User, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		return users.create(tx, u)
	})
}

// User implements [engine.People].
func (s *Store) User(ctx context.Context, id string) (engine.User, error) {
	return users.one(ctx, s.reading, filter{"id", id})
}

// UserByName implements [engine.People].
func (s *Store) UserByName(ctx context.Context, username string) (engine.User, error) {
	return users.one(ctx, s.reading, filter{"username", username})
}

// Users implements [engine.People].
func (s *Store) Users(ctx context.Context, page engine.Page) ([]engine.User, string, error) {
	return list[engine.User](ctx, s.reading, page, byCreation, "users WHERE true")
}

// ChangeUser implements [engine.People].
func (s *Store) ChangeUser(ctx context.Context, userID string, change engine.UserChange, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		u, err := users.one(context.Background(), tx, filter{"id", userID})
		if err != nil {
			return err
		}
		if change.IfEpoch != nil && *change.IfEpoch != u.Epoch {
			return engine.CodeConflict
		}
		_, err = users.rewrite(tx, change.Apply(u))
		return err
	})
}

// SetMember implements [engine.People]. CreatedAt and FormerUntil of an existing
// member stay. A project that does not exist is CodeNotFound.
func (s *Store) SetMember(ctx context.Context, m engine.Member, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error { return tx.setMember(m) })
}

func (tx tx) setMember(m engine.Member) error {
	ctx := context.Background()
	project, err := projects.one(ctx, tx, filter{"id", m.ProjectID})
	if err != nil {
		return err
	}
	before, err := members.one(ctx, tx, ofMember(m.ProjectID, m.UserID)...)
	switch {
	case err == nil:
		m.CreatedAt, m.FormerUntil = before.CreatedAt, before.FormerUntil
		if _, err := tx.exec("DELETE FROM members WHERE project_id = ? AND user_id = ?", m.ProjectID, m.UserID); err != nil {
			return err
		}
	case !errors.Is(err, engine.CodeNotFound):
		return err
	default:
		former, err := formerMembers.one(ctx, tx, ofMember(m.ProjectID, m.UserID)...)
		if err != nil && !errors.Is(err, engine.CodeNotFound) {
			return err
		}
		m.FormerUntil = former.FormerUntil
	}
	return members.create(tx, m, ms(project.CreatedAt))
}

func ofMember(projectID, userID string) []filter {
	return []filter{{"project_id", projectID}, {"user_id", userID}}
}

// RemoveMember implements [engine.People].
func (s *Store) RemoveMember(ctx context.Context, projectID, userID string, at time.Time, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		m, err := members.one(context.Background(), tx, ofMember(projectID, userID)...)
		if err != nil {
			return err
		}
		for _, table := range []string{"members", "former_members"} {
			if _, err := tx.exec("DELETE FROM "+table+" WHERE project_id = ? AND user_id = ?", projectID, userID); err != nil {
				return err
			}
		}
		m.FormerUntil = at
		return formerMembers.create(tx, m)
	})
}

// Member implements [engine.People].
func (s *Store) Member(ctx context.Context, projectID, userID string) (engine.Member, error) {
	return members.one(ctx, s.reading, ofMember(projectID, userID)...)
}

// Members implements [engine.People].
func (s *Store) Members(ctx context.Context, projectID string, page engine.Page) ([]engine.Member, string, error) {
	return list[engine.Member](ctx, s.reading, page, "created_at, user_id", "members WHERE project_id = ?", projectID)
}

// CreateAPIKey implements [engine.People].
func (s *Store) CreateAPIKey(ctx context.Context, k engine.APIKey, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		return apiKeys.create(tx, k)
	})
}

// APIKey implements [engine.People].
func (s *Store) APIKey(ctx context.Context, id string) (engine.APIKey, error) {
	return apiKeys.one(ctx, s.reading, filter{"id", id})
}

// APIKeyBySecret implements [engine.People].
func (s *Store) APIKeyBySecret(ctx context.Context, secretDigest string) (engine.APIKey, error) {
	return apiKeys.one(ctx, s.reading, filter{"secret_digest", secretDigest})
}

// APIKeys implements [engine.People].
func (s *Store) APIKeys(ctx context.Context, projectID string, page engine.Page) ([]engine.APIKey, string, error) {
	return list[engine.APIKey](ctx, s.reading, page, byCreation, "api_keys WHERE project_id = ?", projectID)
}

// RevokeAPIKey implements [engine.People].
func (s *Store) RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		k, err := apiKeys.one(context.Background(), tx, ofProject(projectID, id)...)
		if err != nil || !k.RevokedAt.IsZero() {
			return err
		}
		k.RevokedAt = at
		_, err = apiKeys.rewrite(tx, k)
		return err
	})
}

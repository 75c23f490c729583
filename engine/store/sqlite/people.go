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
		return tx.create("users", "id, username, created_at", u, u.ID, u.Username, ms(u.CreatedAt))
	})
}

// User implements [engine.People].
func (s *Store) User(ctx context.Context, id string) (engine.User, error) {
	return get[engine.User](ctx, s.reading, "users WHERE id = ?", id)
}

// UserByName implements [engine.People].
func (s *Store) UserByName(ctx context.Context, username string) (engine.User, error) {
	return get[engine.User](ctx, s.reading, "users WHERE username = ?", username)
}

// Users implements [engine.People].
func (s *Store) Users(ctx context.Context, page engine.Page) ([]engine.User, string, error) {
	return list[engine.User](ctx, s.reading, page, byCreation, "users WHERE true")
}

// ChangeUser implements [engine.People].
func (s *Store) ChangeUser(ctx context.Context, userID string, change engine.UserChange, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		u, err := get[engine.User](context.Background(), tx, "users WHERE id = ?", userID)
		if err != nil {
			return err
		}
		if change.IfEpoch != nil && *change.IfEpoch != u.Epoch {
			return engine.CodeConflict
		}
		return tx.rewrite("users", userID, change.Apply(u))
	})
}

// SetMember implements [engine.People]. CreatedAt and FormerUntil of an existing
// member stay. A project that does not exist is CodeNotFound.
func (s *Store) SetMember(ctx context.Context, m engine.Member, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error { return tx.setMember(m) })
}

func (tx tx) setMember(m engine.Member) error {
	ctx := context.Background()
	project, err := get[engine.Project](ctx, tx, "projects WHERE id = ?", m.ProjectID)
	if err != nil {
		return err
	}
	before, err := get[engine.Member](ctx, tx, "members WHERE project_id = ? AND user_id = ?", m.ProjectID, m.UserID)
	switch {
	case err == nil:
		m.CreatedAt, m.FormerUntil = before.CreatedAt, before.FormerUntil
		if _, err := tx.exec("DELETE FROM members WHERE project_id = ? AND user_id = ?", m.ProjectID, m.UserID); err != nil {
			return err
		}
	case !errors.Is(err, engine.CodeNotFound):
		return err
	default:
		former, err := get[engine.Member](ctx, tx, "former_members WHERE project_id = ? AND user_id = ?", m.ProjectID, m.UserID)
		if err != nil && !errors.Is(err, engine.CodeNotFound) {
			return err
		}
		m.FormerUntil = former.FormerUntil
	}
	return tx.create("members", "project_id, user_id, created_at, project_created_at", m, m.ProjectID, m.UserID, ms(m.CreatedAt), ms(project.CreatedAt))
}

// RemoveMember implements [engine.People].
func (s *Store) RemoveMember(ctx context.Context, projectID, userID string, at time.Time, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		m, err := get[engine.Member](context.Background(), tx, "members WHERE project_id = ? AND user_id = ?", projectID, userID)
		if err != nil {
			return err
		}
		for _, table := range []string{"members", "former_members"} {
			if _, err := tx.exec("DELETE FROM "+table+" WHERE project_id = ? AND user_id = ?", projectID, userID); err != nil {
				return err
			}
		}
		m.FormerUntil = at
		return tx.create("former_members", "project_id, user_id", m, projectID, userID)
	})
}

// Member implements [engine.People].
func (s *Store) Member(ctx context.Context, projectID, userID string) (engine.Member, error) {
	return get[engine.Member](ctx, s.reading, "members WHERE project_id = ? AND user_id = ?", projectID, userID)
}

// Members implements [engine.People].
func (s *Store) Members(ctx context.Context, projectID string, page engine.Page) ([]engine.Member, string, error) {
	return list[engine.Member](ctx, s.reading, page, "created_at, user_id", "members WHERE project_id = ?", projectID)
}

// CreateAPIKey implements [engine.People].
func (s *Store) CreateAPIKey(ctx context.Context, k engine.APIKey, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		return tx.create("api_keys", "id, project_id, secret_digest, created_at", k, k.ID, k.ProjectID, k.SecretDigest, ms(k.CreatedAt))
	})
}

// APIKey implements [engine.People].
func (s *Store) APIKey(ctx context.Context, id string) (engine.APIKey, error) {
	return get[engine.APIKey](ctx, s.reading, "api_keys WHERE id = ?", id)
}

// APIKeyBySecret implements [engine.People].
func (s *Store) APIKeyBySecret(ctx context.Context, secretDigest string) (engine.APIKey, error) {
	return get[engine.APIKey](ctx, s.reading, "api_keys WHERE secret_digest = ?", secretDigest)
}

// APIKeys implements [engine.People].
func (s *Store) APIKeys(ctx context.Context, projectID string, page engine.Page) ([]engine.APIKey, string, error) {
	return list[engine.APIKey](ctx, s.reading, page, byCreation, "api_keys WHERE project_id = ?", projectID)
}

// RevokeAPIKey implements [engine.People].
func (s *Store) RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		k, err := get[engine.APIKey](context.Background(), tx, "api_keys WHERE id = ? AND project_id = ?", id, projectID)
		if err != nil || !k.RevokedAt.IsZero() {
			return err
		}
		k.RevokedAt = at
		return tx.rewrite("api_keys", id, k)
	})
}

package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// CreateSession implements [engine.Sessions].
func (s *Store) CreateSession(ctx context.Context, session engine.Session, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		return tx.create("sessions", "id, expires_at", session, session.ID, ms(session.ExpiresAt))
	})
}

// Session implements [engine.Sessions].
func (s *Store) Session(ctx context.Context, id string) (engine.Session, error) {
	return get[engine.Session](ctx, s.reading, "sessions WHERE id = ?", id)
}

// TouchSession implements [engine.Sessions].
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	_, err := update(ctx, s, func(tx tx) (struct{}, error) {
		session, err := get[engine.Session](context.Background(), tx, "sessions WHERE id = ?", id)
		if errors.Is(err, engine.CodeNotFound) || err == nil && !at.After(session.SeenAt) {
			return struct{}{}, nil
		}
		if err != nil {
			return struct{}{}, err
		}
		session.SeenAt = at
		return struct{}{}, tx.rewrite("sessions", id, session)
	})
	return err
}

// EndSession implements [engine.Sessions].
func (s *Store) EndSession(ctx context.Context, id string, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		n, err := tx.exec("DELETE FROM sessions WHERE id = ?", id)
		if err == nil && n == 0 {
			return engine.CodeNotFound
		}
		return err
	})
}

// PurgeSessions implements [engine.Sessions].
func (s *Store) PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) { return tx.exec(purgeSessions, ms(before), limit) })
}

const purgeSessions = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at, id LIMIT ?)"

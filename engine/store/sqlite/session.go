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
		return sessions.create(tx, session)
	})
}

// Session implements [engine.Sessions].
func (s *Store) Session(ctx context.Context, id string) (engine.Session, error) {
	return sessions.one(ctx, s.reading, filter{"id", id})
}

// TouchSession implements [engine.Sessions].
func (s *Store) TouchSession(ctx context.Context, id string, at time.Time) error {
	_, err := update(ctx, s, func(tx tx) (struct{}, error) {
		session, err := sessions.one(context.Background(), tx, filter{"id", id})
		if errors.Is(err, engine.CodeNotFound) || err == nil && !at.After(session.SeenAt) {
			return struct{}{}, nil
		}
		if err != nil {
			return struct{}{}, err
		}
		session.SeenAt = at
		_, err = sessions.rewrite(tx, session)
		return struct{}{}, err
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

// SessionsOf implements [engine.Sessions].
func (s *Store) SessionsOf(ctx context.Context, userID string, page engine.Page) ([]engine.Session, string, error) {
	return list[engine.Session](ctx, s.reading, page, "expires_at, id", "sessions WHERE "+member("$.user_id")+" = ?", userID)
}

// PurgeSessions implements [engine.Sessions].
func (s *Store) PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) { return tx.exec(purgeSessions, ms(before), limit) })
}

const purgeSessions = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at, id LIMIT ?)"

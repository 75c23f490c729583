package engine

import (
	"context"
	"time"
)

// Retention deletes what has been kept long enough. All fields must be set.
type Retention struct {
	Store RetentionStore
	Clock Clock
}

// RetentionStore is what [Retention] deletes from; [Store] documents the methods.
type RetentionStore interface {
	PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error)
}

// MinTokenAge is how long records of ended tokens are kept at least, because they are
// evidence.
const MinTokenAge = 30 * 24 * time.Hour

// RetentionAges is how long ended requests and sessions are kept. If Requests is 0,
// requests are never deleted.
type RetentionAges struct {
	Tokens   time.Duration `json:"tokens"`
	Requests time.Duration `json:"requests"`
}

// Purged counts what was deleted.
type Purged struct {
	Tokens   int `json:"tokens"`
	Requests int `json:"requests"`
	Sessions int `json:"sessions"`
}

// Plus adds two counts.
func (p Purged) Plus(other Purged) Purged {
	return Purged{p.Tokens + other.Tokens, p.Requests + other.Requests, p.Sessions + other.Sessions}
}

// purgeBatch bounds one write, so that it delays no other for long.
const purgeBatch = 200

// PurgeBatch deletes a batch of what is older than the ages. more says that a full
// batch was deleted, so that there may be more to delete.
func (r *Retention) PurgeBatch(ctx context.Context, ages RetentionAges) (done Purged, more bool, err error) {
	now := r.Clock()
	if done.Tokens, err = r.Store.PurgeTokens(ctx, now.Add(-ages.Tokens), purgeBatch); err != nil {
		return done, false, err
	}
	if done.Sessions, err = r.Store.PurgeSessions(ctx, now, purgeBatch); err != nil {
		return done, false, err
	}
	if ages.Requests > 0 {
		if done.Requests, err = r.Store.PurgeRequests(ctx, now.Add(-ages.Requests), purgeBatch); err != nil {
			return done, false, err
		}
	}
	return done, max(done.Tokens, done.Requests, done.Sessions) == purgeBatch, nil
}

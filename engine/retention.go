package engine

import (
	"context"
	"errors"
	"time"
)

// Retention deletes what has been kept long enough. All fields but Audit must be set.
type Retention struct {
	Store RetentionStore
	Clock Clock
	Audit *AuditPurge // nil if audit entries are never deleted
}

// RetentionStore is what [Retention] deletes from; [Store] documents the methods.
type RetentionStore interface {
	PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error)
	PurgeEvents(ctx context.Context, before time.Time, limit int) (int, error)
}

// MinTokenAge is how long records of ended tokens are kept at least, because they are
// evidence.
const MinTokenAge = 30 * 24 * time.Hour

// RetentionAges is how long ended tokens and requests, certificates' events and audit
// entries are kept. If one but Tokens is 0, what it is about is never deleted.
type RetentionAges struct {
	Tokens   time.Duration `json:"tokens"`
	Requests time.Duration `json:"requests"`
	Events   time.Duration `json:"events"`
	Audit    time.Duration `json:"audit"`
	// Archived says that audit entries are deleted only by a node that archives them.
	Archived bool `json:"archived"`
}

// auditMargin is how much longer audit entries are kept than the documents that retention
// deletes. A request may wait so long for approval.
const auditMargin = 30 * 24 * time.Hour

// Check returns an error that names the setting of an age that is not allowed. Audit
// entries outlive every document that retention deletes by its age: an entry must not be
// deleted as long as such a document needs it.
func (a RetentionAges) Check() error {
	switch {
	case a.Tokens < MinTokenAge:
		return errors.New("retention.tokens must be at least 720h, because records of ended tokens are evidence")
	case a.Requests != 0 && a.Requests < a.Tokens:
		return errors.New("retention.requests must be 0 or at least retention.tokens")
	case a.Events != 0 && a.Events < a.Tokens:
		return errors.New("retention.events must be 0 or at least retention.tokens")
	case a.Audit == 0:
		return nil
	case a.Requests == 0 || a.Events == 0:
		return errors.New("retention.audit needs retention.requests and retention.events, because what is kept forever needs its audit entries forever")
	case a.Audit < max(a.Requests, a.Events)+auditMargin:
		return errors.New("retention.audit must be 0, or at least 720h longer than retention.requests and retention.events")
	}
	return nil
}

// Purged counts what was deleted.
type Purged struct {
	Tokens   int `json:"tokens"`
	Requests int `json:"requests"`
	Sessions int `json:"sessions"`
	Events   int `json:"events"`
	Entries  int `json:"entries"`
}

// Plus adds two counts.
func (p Purged) Plus(other Purged) Purged {
	return Purged{
		p.Tokens + other.Tokens, p.Requests + other.Requests, p.Sessions + other.Sessions, p.Events + other.Events, p.Entries + other.Entries,
	}
}

// purgeBatch bounds one write, so that it delays no other for long.
const purgeBatch = 200

// PurgeAudit deletes the audit entries that are older than the ages say, when PurgeBatch
// has nothing more to delete, and returns how many; see [AuditPurge.Run].
func (r *Retention) PurgeAudit(ctx context.Context, ages RetentionAges, beat func()) (int, error) {
	if r.Audit == nil || ages.Audit == 0 {
		return 0, nil
	}
	return r.Audit.Run(ctx, ages, beat)
}

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
	if ages.Events > 0 {
		if done.Events, err = r.Store.PurgeEvents(ctx, now.Add(-ages.Events), purgeBatch); err != nil {
			return done, false, err
		}
	}
	return done, max(done.Tokens, done.Requests, done.Sessions, done.Events) == purgeBatch, nil
}

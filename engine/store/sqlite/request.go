package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// OpenRequest implements [engine.Requests]. The transition is written in one
// transaction, so a stored one is always complete.
func (s *Store) OpenRequest(ctx context.Context, first engine.Transition) (engine.Request, error) {
	return update(ctx, s, func(tx tx) (engine.Request, error) { return tx.open(first) })
}

func (tx tx) open(first engine.Transition) (engine.Request, error) {
	r := first.Request
	inserted, err := requests.insert(tx, r)
	if err == nil && !inserted {
		return requests.one(context.Background(), tx, filter{"id", r.ID})
	}
	if err != nil {
		return r, err
	}
	return r, tx.writeRest(first)
}

// writeRest writes what comes with a request. A token that is stored already stays as
// it is.
func (tx tx) writeRest(s engine.Transition) error {
	if t := s.Token; t != nil {
		if _, err := tokens.insert(tx, *t); err != nil {
			return err
		}
	}
	if s.Approval != nil {
		if err := approvals.put(tx, *s.Approval); err != nil {
			return err
		}
	}
	if s.Record == nil {
		return nil
	}
	_, err := tx.record(*s.Record)
	return err
}

// AdvanceRequest implements [engine.Requests]. The transition is written in one
// transaction, so a stored one is always complete.
func (s *Store) AdvanceRequest(ctx context.Context, next engine.Transition) error {
	r := next.Request
	_, err := update(ctx, s, func(tx tx) (none struct{}, err error) {
		n, err := requests.rewrite(tx, r)
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, tx.same(r)
		}
		return none, tx.writeRest(next)
	})
	return err
}

// same returns engine.CodeConflict unless exactly this request is stored.
func (tx tx) same(r engine.Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	stored, err := scan(context.Background(), tx, func(rows *sql.Rows) (doc string, err error) { return doc, rows.Scan(&doc) },
		"SELECT doc FROM download_requests WHERE id = ?", r.ID)
	switch {
	case err != nil:
		return err
	case len(stored) == 0:
		return engine.CodeNotFound
	case stored[0] != string(text):
		return engine.CodeConflict
	}
	return nil
}

// CompleteRequest implements [engine.Requests]. A transition is stored whole or not
// at all.
func (s *Store) CompleteRequest(ctx context.Context, projectID, id string) (engine.Request, error) {
	return s.Request(ctx, projectID, id)
}

// Request implements [engine.Requests].
func (s *Store) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	return requests.one(ctx, s.reading, ofProject(projectID, id)...)
}

// RequestByIdempotency implements [engine.Requests].
func (s *Store) RequestByIdempotency(ctx context.Context, idempotencyID string) (engine.Request, error) {
	return requests.first(ctx, s.reading, " ORDER BY created_at DESC, id DESC", filter{"idempotency_id", idempotencyID})
}

// Requests implements [engine.Requests].
func (s *Store) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	from, args := requestsFrom(q)
	return list[engine.Request](ctx, s.reading, q.Page, byCreation, from, args...)
}

// UnendedRequests implements [engine.Requests].
func (s *Store) UnendedRequests(ctx context.Context, page engine.Page) ([]engine.Request, string, error) {
	return list[engine.Request](ctx, s.reading, page, byCreation, "download_requests WHERE ended_at IS NULL")
}

// CountRequests implements [engine.Requests].
func (s *Store) CountRequests(ctx context.Context, q engine.RequestQuery) (int, error) {
	from, args := requestsFrom(q)
	return count(ctx, s.reading, q.Limit, from, args...)
}

func requestsFrom(q engine.RequestQuery) (from string, args []any) {
	return filtered("download_requests", q.ProjectID,
		filter{"person", q.Person}, filter{"status", string(q.Status)}, filter{"certificate_id", q.CertificateID})
}

// PurgeRequests implements [engine.Requests].
func (s *Store) PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) {
		if _, err := tx.exec(purgeApprovals, ms(before), limit); err != nil {
			return 0, err
		}
		return tx.exec(purgeRequests, ms(before), limit)
	})
}

// Both statements select the same requests: the first deletes their approvals, the
// second the requests themselves.
const (
	purgeApprovals = `DELETE FROM approval_requests WHERE request_id IN (
  SELECT id FROM download_requests WHERE ended_at < ? ORDER BY ended_at, id LIMIT ?)`
	purgeRequests = `DELETE FROM download_requests WHERE id IN (
  SELECT id FROM download_requests WHERE ended_at < ? ORDER BY ended_at, id LIMIT ?)`
)

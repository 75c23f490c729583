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
	inserted, err := tx.insert("download_requests", "id, version, project_id, person, status, certificate_id, idempotency_id, created_at, ended_at", r,
		r.ID, r.Version, r.ProjectID, r.Requester.Person, string(r.Status), r.CertificateID, orNull(r.IdempotencyID), ms(r.CreatedAt), endedAt(r))
	if err == nil && !inserted {
		return get[engine.Request](context.Background(), tx, "download_requests WHERE id = ?", r.ID)
	}
	if err != nil {
		return r, err
	}
	return r, tx.writeRest(first)
}

// follow writes what comes with a request. A token that is stored already stays as
// it is.
func (tx tx) writeRest(s engine.Transition) error {
	if t := s.Token; t != nil {
		if _, err := tx.insert("download_tokens", "id, project_id, issued_at, expires_at", t, t.Digest, t.ProjectID, ms(t.IssuedAt), ms(t.ExpiresAt)); err != nil {
			return err
		}
	}
	if s.Approval != nil {
		if err := tx.putApproval(s.Approval); err != nil {
			return err
		}
	}
	if s.Record == nil {
		return nil
	}
	_, err := tx.record(*s.Record)
	return err
}

// endedAt is the value of the column ended_at.
func endedAt(r engine.Request) any {
	if !r.Status.Ended() {
		return nil
	}
	return ms(r.UpdatedAt)
}

// AdvanceRequest implements [engine.Requests]. The transition is written in one
// transaction, so a stored one is always complete.
func (s *Store) AdvanceRequest(ctx context.Context, next engine.Transition) error {
	r := next.Request
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = update(ctx, s, func(tx tx) (none struct{}, err error) {
		n, err := tx.exec("UPDATE download_requests SET version = ?, status = ?, ended_at = ?, doc = ? WHERE id = ? AND version < ?",
			r.Version, string(r.Status), endedAt(r), string(text), r.ID, r.Version)
		if err != nil {
			return none, err
		}
		if n == 0 {
			return none, tx.same(r.ID, text)
		}
		return none, tx.writeRest(next)
	})
	return err
}

// same returns engine.CodeConflict unless exactly this request is stored.
func (tx tx) same(id string, text []byte) error {
	stored, err := scan(context.Background(), tx, func(rows *sql.Rows) (doc string, err error) { return doc, rows.Scan(&doc) },
		"SELECT doc FROM download_requests WHERE id = ?", id)
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

// Request implements [engine.Requests].
func (s *Store) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	return get[engine.Request](ctx, s.reading, "download_requests WHERE id = ? AND project_id = ?", id, projectID)
}

// RequestByIdempotency implements [engine.Requests].
func (s *Store) RequestByIdempotency(ctx context.Context, idempotencyID string) (engine.Request, error) {
	return get[engine.Request](ctx, s.reading, "download_requests WHERE idempotency_id = ? ORDER BY created_at DESC, id DESC", orNull(idempotencyID))
}

// Requests implements [engine.Requests].
func (s *Store) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	from, args := requestsFrom(q)
	return list[engine.Request](ctx, s.reading, q.Page, byCreation, from, args...)
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

package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// OpenRequest implements [engine.Requests]. Request, token and record are one
// transaction, so of a stored decision nothing can be missing.
func (s *Store) OpenRequest(ctx context.Context, r engine.Request, token *engine.Token, rec engine.Record) (engine.Request, error) {
	return update(ctx, s, func(tx tx) (engine.Request, error) { return tx.open(r, token, rec) })
}

func (tx tx) open(r engine.Request, token *engine.Token, rec engine.Record) (stored engine.Request, err error) {
	inserted, err := tx.insert("download_requests", "id, version, project, person, status, certificate, idempotency, at, ended", r,
		r.ID, r.Version, r.ProjectID, r.Requester.Person, string(r.Status), r.CertificateID, orNull(r.IdempotencyID), ms(r.CreatedAt), ended(r))
	if err != nil {
		return stored, err
	}
	if !inserted {
		return get[engine.Request](context.Background(), tx, "download_requests WHERE id = ?", r.ID)
	}
	if token != nil {
		if err := tx.create("download_tokens", "id, project, at, expires", token,
			token.Digest, token.ProjectID, ms(token.IssuedAt), ms(token.ExpiresAt)); err != nil {
			return stored, err
		}
	}
	return r, tx.record(rec)
}

// ended is the column of that name.
func ended(r engine.Request) any {
	if !r.Status.Ended() {
		return nil
	}
	return ms(r.UpdatedAt)
}

// AdvanceRequest implements [engine.Requests].
func (s *Store) AdvanceRequest(ctx context.Context, r engine.Request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	_, err = update(ctx, s, func(tx tx) (none struct{}, err error) {
		n, err := tx.exec("UPDATE download_requests SET version = ?, status = ?, ended = ?, doc = ? WHERE id = ? AND version < ?",
			r.Version, string(r.Status), ended(r), string(text), r.ID, r.Version)
		if err == nil && n == 0 {
			_, err = get[engine.Request](context.Background(), tx, "download_requests WHERE id = ?", r.ID)
		}
		return none, err
	})
	return err
}

// Request implements [engine.Requests].
func (s *Store) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	return get[engine.Request](ctx, s.reading, "download_requests WHERE id = ? AND project = ?", id, projectID)
}

// RequestByIdempotency implements [engine.Requests].
func (s *Store) RequestByIdempotency(ctx context.Context, idempotencyID string) (engine.Request, error) {
	return get[engine.Request](ctx, s.reading, "download_requests WHERE idempotency = ? ORDER BY at DESC, id DESC", orNull(idempotencyID))
}

// Requests implements [engine.Requests]. It always keeps to the query's project.
func (s *Store) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	from, args := requestsFrom(q)
	return list[engine.Request](ctx, s.reading, q.Page, from, args...)
}

func requestsFrom(q engine.RequestQuery) (from string, args []any) {
	from, args = "download_requests WHERE project = ?", []any{q.ProjectID}
	for _, filter := range []struct{ column, value string }{
		{"person", q.Person}, {"status", string(q.Status)}, {"certificate", q.CertificateID},
	} {
		if filter.value != "" {
			from += " AND " + filter.column + " = ?"
			args = append(args, filter.value)
		}
	}
	return from, args
}

// PurgeRequests implements [engine.Requests].
func (s *Store) PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) {
		return tx.exec(purgeRequests, ms(before), limit)
	})
}

const purgeRequests = `DELETE FROM download_requests WHERE id IN (
  SELECT id FROM download_requests WHERE ended < ? ORDER BY ended, id LIMIT ?)`

package sqlite

import (
	"context"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// CreateCertificate implements [engine.Certificates].
func (s *Store) CreateCertificate(ctx context.Context, c engine.Certificate, key *engine.SealedKey, rec engine.Record) error {
	return s.change(ctx, rec, func(tx tx) error {
		if err := certificates.create(tx, c); err != nil {
			return err
		}
		if err := tx.addGrams(c); err != nil || key == nil {
			return err
		}
		return certificateKeys.create(tx, *key, c.ID)
	})
}

// Certificate implements [engine.Certificates].
func (s *Store) Certificate(ctx context.Context, projectID, id string) (engine.Certificate, error) {
	return certificates.one(ctx, s.reading, ofProject(projectID, id)...)
}

// Certificates implements [engine.Certificates].
func (s *Store) Certificates(ctx context.Context, projectID, query string, page engine.Page) ([]engine.Certificate, string, error) {
	order, from, args, err := searched(projectID, query)
	if err != nil {
		return nil, "", err
	}
	return list[engine.Certificate](ctx, s.reading, page, order, from, args...)
}

// CountCertificates implements [engine.Certificates].
func (s *Store) CountCertificates(ctx context.Context, from, until time.Time, limit int) (int, error) {
	return count(ctx, s.reading, limit, "certificates WHERE "+ends+" >= ? AND "+ends+" < ?", from.Unix(), until.Unix())
}

// SealedKey implements [engine.Certificates].
func (s *Store) SealedKey(ctx context.Context, certificateID string) (engine.SealedKey, error) {
	return get[engine.SealedKey](ctx, s.reading, "certificate_keys WHERE certificate_id = ?", certificateID)
}

// Events implements [engine.Certificates].
func (s *Store) Events(ctx context.Context, q engine.EventQuery) ([]engine.Event, string, error) {
	from, args := eventsFrom(q)
	return list[engine.Event](ctx, s.reading, q.Page, "time, id", from, args...)
}

// PurgeEvents implements [engine.Certificates].
func (s *Store) PurgeEvents(ctx context.Context, before time.Time, limit int) (int, error) {
	return update(ctx, s, func(tx tx) (int, error) { return tx.exec(purgeEvents, ms(before), limit) })
}

const purgeEvents = `DELETE FROM certificate_events WHERE (project_id, certificate_id, time, id) IN (
  SELECT project_id, certificate_id, time, id FROM certificate_events WHERE time < ? ORDER BY time LIMIT ?)`

// eventsFrom names the index for the events of one request, because SQLite would
// choose to read the whole timeline, in whose order the table is stored.
func eventsFrom(q engine.EventQuery) (from string, args []any) {
	args = []any{q.ProjectID, q.CertificateID}
	if q.RequestID == "" {
		return "certificate_events WHERE project_id = ? AND certificate_id = ?", args
	}
	return "certificate_events INDEXED BY events_request WHERE project_id = ? AND certificate_id = ? AND request_id = ?", append(args, q.RequestID)
}

package mongo

import (
	"context"
	"errors"

	driver "go.mongodb.org/mongo-driver/mongo"

	"github.com/countersign-dev/countersign/engine"
)

// record puts rec on record, after the change it stands for: the audit entry,
// then the event. added tells whether anything of it was missing. A failure is
// engine.CodeAuditUnavailable: the change is made, and nobody may act on it.
func (s *Store) record(ctx context.Context, rec engine.Record) (added bool, err error) {
	added, err = s.audit.append(ctx, rec.Audit)
	if err != nil || rec.Event == nil {
		return added, err
	}
	_, fresh, err := s.insert(ctx, s.db.Collection(eventsName), rec.Event)
	if err != nil {
		return added, auditUnavailable(err)
	}
	return added || fresh, nil
}

// checkRecord refuses, before any change, what could never be put on record.
func checkRecord(rec engine.Record) error {
	if rec.Audit.Ref == "" || rec.Audit.ProjectID == "" {
		return errors.New("an audit entry must have a Ref and a project")
	}
	return nil
}

func auditUnavailable(err error) error {
	return engine.Errorf(engine.CodeAuditUnavailable, "the record could not be written").Because(err)
}

// create inserts a document that nobody else makes, and its record. Doing so
// again completes what is missing of either; if nothing is, it is
// engine.ErrExists, as is another document in its place.
func (s *Store) create(ctx context.Context, c *driver.Collection, doc any, rec engine.Record, unique ...string) error {
	return s.change(rec, func() (bool, error) {
		fresh, err := s.insertSame(ctx, c, doc, unique...)
		if err != nil {
			return false, err
		}
		added, err := s.record(ctx, rec)
		return fresh || added, err
	})
}

// change runs a write that Close waits for. A write that found everything there
// already is engine.ErrExists.
func (s *Store) change(rec engine.Record, write func() (changed bool, err error)) error {
	if err := checkRecord(rec); err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	changed, err := write()
	if err == nil && !changed {
		return engine.ErrExists
	}
	return err
}

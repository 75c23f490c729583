package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/bson"
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
// engine.CodeExists, as is another document in its place.
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
// already is engine.CodeExists.
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
		return engine.CodeExists
	}
	return err
}

// present leaves out what is being removed.
var present = bson.E{Key: "removed_by", Value: nil}

// remove deletes the document under a key, and puts that on record. It is marked
// first with the record's Ref: gone for everybody, and there still for the same
// call to complete what a crash cut short.
func (s *Store) remove(ctx context.Context, c *driver.Collection, key bson.D, rec engine.Record) error {
	return s.change(rec, func() (bool, error) {
		mark := bson.E{Key: "removed_by", Value: rec.Audit.Ref}
		marked, err := c.UpdateOne(ctx, append(bson.D{present}, key...), bson.D{{Key: "$set", Value: bson.D{mark}}})
		if err != nil {
			return false, fault("remove from "+c.Name(), err)
		}
		if marked.MatchedCount == 0 {
			// Unless an earlier try of this removal left its mark, there is nothing.
			if _, err := findRaw(ctx, c, append(bson.D{mark}, key...)); err != nil {
				return false, err
			}
		}
		if _, err := s.record(ctx, rec); err != nil {
			return false, err
		}
		if _, err := c.DeleteOne(ctx, append(bson.D{mark}, key...)); err != nil {
			return false, fault("remove from "+c.Name(), err)
		}
		return true, nil
	})
}

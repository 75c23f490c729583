package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"

	"github.com/countersign-dev/countersign/engine"
)

// record writes the audit entries of a change and then its event. It is called after
// the change. It fails with engine.CodeAuditUnavailable: the change is stored then,
// but no caller may act on it.
func (s *Store) record(ctx context.Context, rec engine.Record) error {
	ctx, cancel := engine.Finishing(ctx)
	defer cancel()
	for _, e := range rec.Entries() {
		if err := s.audit.append(ctx, e); err != nil {
			return err
		}
	}
	if rec.Event == nil {
		return nil
	}
	if _, _, err := s.insert(ctx, s.db.Collection(eventsName), rec.Event); err != nil {
		return auditUnavailable(err)
	}
	return nil
}

// completeRecord is record for a change that an earlier try of the same call may have
// made: fresh says that none did. added reports whether the change or anything of its
// record was missing.
func (s *Store) completeRecord(ctx context.Context, rec engine.Record, fresh bool) (added bool, err error) {
	if !fresh {
		recorded, err := s.recorded(ctx, rec)
		if err != nil || recorded {
			return false, err
		}
	}
	return true, s.record(ctx, rec)
}

// recorded reports whether all of a record is stored.
func (s *Store) recorded(ctx context.Context, rec engine.Record) (bool, error) {
	for _, e := range rec.Entries() {
		if has, err := s.audit.has(ctx, e.Ref); err != nil || !has {
			return false, err
		}
	}
	if rec.Event == nil {
		return true, nil
	}
	_, err := findRaw(ctx, s.db.Collection(eventsName), byID(rec.Event.ID))
	if errors.Is(err, engine.CodeNotFound) {
		return false, nil
	}
	return err == nil, err
}

// checkRecord refuses a record that could never be written, before any change is
// made.
func checkRecord(rec engine.Record) error {
	if rec.Audit.Ref == "" || rec.Audit.ProjectID == "" {
		return errors.New("an audit entry must have a Ref and a ProjectID")
	}
	return nil
}

func auditUnavailable(err error) error {
	return engine.Errorf(engine.CodeAuditUnavailable, "the audit record could not be written; try again").Because(err)
}

// create inserts a document and its record. The same call again adds what is
// missing of either. If nothing is missing, or another document has the id, it
// returns engine.CodeExists.
func (s *Store) create(ctx context.Context, c *driver.Collection, doc any, rec engine.Record, unique ...string) error {
	return s.change(rec, func() (bool, error) {
		fresh, err := s.insertSame(ctx, c, doc, unique...)
		if err != nil {
			return false, err
		}
		return s.completeRecord(ctx, rec, fresh)
	})
}

// change runs a write, for which Close waits. It returns engine.CodeExists if the
// write found everything stored already.
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

// update is repeated for a write that is not done again once its record is stored: others
// may have changed the document since, and the log would not say that it was changed back.
func (s *Store) update(ctx context.Context, rec engine.Record, write func(ctx context.Context, again bool) (changed bool, err error)) error {
	return s.repeated(ctx, rec, func(ctx context.Context, again bool) (bool, error) {
		if again {
			if recorded, err := s.recorded(ctx, rec); err != nil || recorded {
				return recorded, err
			}
		}
		return write(ctx, again)
	})
}

// repeated is change for a write of which a lost answer does not tell whether it was done,
// because it updates or deletes a document. The write is then done again, so that a
// change that is stored gets its record. again says so.
func (s *Store) repeated(ctx context.Context, rec engine.Record, write func(ctx context.Context, again bool) (changed bool, err error)) error {
	return s.change(rec, func() (bool, error) {
		if ctx.Err() != nil {
			return false, fault("write", ctx.Err())
		}
		changed, err := write(ctx, false)
		if !maybeWritten(err) {
			return changed, err
		}
		ctx, cancel := engine.Finishing(ctx)
		defer cancel()
		changed, err = write(ctx, true)
		if err == nil || maybeWritten(err) {
			return changed, err
		}
		if recorded, unknown := s.recorded(ctx, rec); unknown == nil && recorded {
			return true, nil // the first time did all, and nothing was left to change
		}
		return changed, err
	})
}

// notRemoved selects the documents that are not being removed.
var notRemoved = bson.E{Key: "removed_by", Value: nil}

// remove deletes the document under a key and writes the record of it. It first
// marks the document with the record's Ref: readers then ignore the document, and
// the same call can complete the removal after a crash.
func (s *Store) remove(ctx context.Context, c *driver.Collection, key bson.D, rec engine.Record) error {
	return s.repeated(ctx, rec, func(ctx context.Context, _ bool) (bool, error) {
		mark := bson.E{Key: "removed_by", Value: rec.Audit.Ref}
		marked, err := c.UpdateOne(ctx, append(bson.D{notRemoved}, key...), bson.D{{Key: "$set", Value: bson.D{mark}}})
		if err != nil {
			return false, fault("remove from "+c.Name(), err)
		}
		if marked.MatchedCount == 0 {
			// Only an earlier try of the same removal may have marked the document.
			if _, err := findRaw(ctx, c, append(bson.D{mark}, key...)); err != nil {
				return false, err
			}
		}
		if err := s.record(ctx, rec); err != nil {
			return false, err
		}
		if _, err := c.DeleteOne(ctx, append(bson.D{mark}, key...)); err != nil {
			return false, fault("remove from "+c.Name(), err)
		}
		return true, nil
	})
}

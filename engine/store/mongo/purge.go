package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// PurgeAudit implements engine.AuditLog.
func (s *Store) PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	c := s.db.Collection(auditName)
	until := bson.D{{Key: "project_id", Value: chain}, {Key: "seq", Value: bson.D{{Key: "$lte", Value: through}}}}
	docs, err := findAll[auditDocument](ctx, c, until, options.Find().SetSort(bson.D{{Key: "seq", Value: 1}}).SetLimit(int64(limit)))
	if err != nil {
		return 0, err
	}
	ids := make([]string, 0, len(docs))
	for _, d := range docs {
		if err := s.settleRemovals(ctx, d.AuditEntry); err != nil {
			return 0, err
		}
		ids = append(ids, d.ID)
	}
	return deleteByID(ctx, c, ids)
}

// settleRemovals ends the removals that an entry is the record of. A document that was
// marked with the entry and not deleted is deleted; the mark of a former member no longer
// names the entry, so that nobody writes it again.
func (s *Store) settleRemovals(ctx context.Context, e engine.AuditEntry) error {
	for _, d := range e.Documents {
		if d.Digest != "" {
			continue
		}
		switch d.Document {
		case membersName:
			mark, err := encode(engine.AuditEntry{})
			if err != nil {
				return err
			}
			former := append(byID(memberKey(e.ProjectID, d.ID)), bson.E{Key: "removed_by.ref", Value: e.Ref})
			if _, err := s.db.Collection(membersName).UpdateOne(ctx, former, bson.D{{Key: "$set", Value: bson.D{{Key: "removed_by", Value: mark}}}}); err != nil {
				return fault("settle the removal of a member", err)
			}
		case targetsName:
			if _, err := s.db.Collection(targetsName).DeleteOne(ctx, append(byID(d.ID), bson.E{Key: "removed_by", Value: e.Ref})); err != nil {
				return fault("settle the removal of a notification target", err)
			}
		}
	}
	return nil
}

package mongo

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// CompleteDocuments implements engine.DocumentCopies. It reads the Refs of all entries
// and the ids of all events first, so that it looks only at what lacks one.
func (s *Store) CompleteDocuments(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := s.linkAll(ctx); err != nil {
		return err
	}
	recorded, err := s.idsOf(ctx, auditName, "ref")
	if err != nil {
		return err
	}
	happened, err := s.idsOf(ctx, eventsName, "_id")
	if err != nil {
		return err
	}
	if err := s.completeRequests(ctx, recorded, happened); err != nil {
		return fmt.Errorf("complete requests: %w", err)
	}
	if err := s.completeMembers(ctx, recorded); err != nil {
		return fmt.Errorf("complete the removal of members: %w", err)
	}
	if err := s.completeTargets(ctx, recorded); err != nil {
		return fmt.Errorf("complete the removal of notification targets: %w", err)
	}
	return s.linkAll(ctx)
}

// linkAll links the entries that wait.
func (s *Store) linkAll(ctx context.Context) error {
	chains, err := s.idsOf(ctx, waitingName, "entry.project_id")
	if err != nil {
		return err
	}
	for chain := range chains {
		if err := s.audit.linker(chain).link(ctx, maxLinkTries); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) completeRequests(ctx context.Context, recorded, happened map[string]bool) error {
	return s.each(ctx, requestsName, bson.D{exists("follow")}, options.Find(), func(raw bson.Raw) error {
		doc, err := decode[requestDocument](raw)
		if err != nil {
			return err
		}
		// What comes with a transition is written in this order: the event is the last.
		f := doc.Follow
		if f.Audit != nil && recorded[f.Audit.Ref] && (f.Event == nil || happened[f.Event.ID]) {
			return nil
		}
		return s.complete(ctx, doc)
	})
}

func (s *Store) completeMembers(ctx context.Context, recorded map[string]bool) error {
	return s.each(ctx, membersName, bson.D{exists("removed_by")}, options.Find(), func(raw bson.Raw) error {
		m, err := decode[memberDocument](raw)
		if err != nil || m.RemovedBy.Ref == "" || recorded[m.RemovedBy.Ref] {
			return err
		}
		if !m.removesItself() {
			return errForeign(membersName, m.ID)
		}
		return s.record(ctx, engine.Record{Audit: *m.RemovedBy})
	})
}

// completeTargets undoes removals that are not on record: whoever wanted one was told
// that it had failed.
func (s *Store) completeTargets(ctx context.Context, recorded map[string]bool) error {
	c := s.db.Collection(targetsName)
	return s.each(ctx, targetsName, bson.D{exists("removed_by")}, options.Find(), func(raw bson.Raw) error {
		if ref, _ := raw.Lookup("removed_by").StringValueOK(); recorded[ref] {
			return nil
		}
		if _, err := c.UpdateOne(ctx, byID(idOf(raw)), bson.D{{Key: "$unset", Value: bson.D{{Key: "removed_by", Value: ""}}}}); err != nil {
			return fault("restore a notification target", err)
		}
		return nil
	})
}

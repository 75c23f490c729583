package mongo

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// Approval implements engine.Approvals.
func (s *Store) Approval(ctx context.Context, projectID, id string) (engine.Approval, error) {
	return find[engine.Approval](ctx, s.db.Collection(approvalsName), bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}})
}

// Approvals implements engine.Approvals.
func (s *Store) Approvals(ctx context.Context, q engine.ApprovalQuery) ([]engine.Approval, string, error) {
	filter := filtered(bson.D{
		{Key: "project_id", Value: q.ProjectID},
		{Key: "requester.person", Value: q.Person},
		{Key: "status", Value: string(q.Status)},
	})
	if q.Settled {
		// With equality conditions the server can merge sorted ranges of the index.
		filter = append(filter, bson.E{Key: "$and", Value: bson.A{bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: settled}}}}}})
	}
	return list(ctx, s.db.Collection(approvalsName), filter, q.Page, "created_at", func(a engine.Approval) engine.Cursor {
		return engine.Cursor{Time: a.CreatedAt, ID: a.ID}
	})
}

// settled are the final states of an approval.
var settled = []engine.ApprovalStatus{
	engine.ApprovalApproved, engine.ApprovalDenied, engine.ApprovalExpired, engine.ApprovalCancelled,
}

// putApproval inserts an approval or replaces an older version of it.
func (s *Store) putApproval(ctx context.Context, a engine.Approval) error {
	c := s.db.Collection(approvalsName)
	_, fresh, err := s.insert(ctx, c, a)
	if err != nil || fresh {
		return err
	}
	_, err = replaceOlder(ctx, c, a.ID, a.Version, a)
	return err
}

// ApprovalsPending implements engine.Approvals.
func (s *Store) ApprovalsPending(ctx context.Context, limit int) (pending int, since time.Time, err error) {
	c, filter := s.db.Collection(approvalsName), bson.D{{Key: "status", Value: engine.ApprovalPending}}
	n, err := c.CountDocuments(ctx, filter, options.Count().SetLimit(int64(limit)))
	if err != nil {
		return 0, time.Time{}, fault("count pending approvals", err)
	}
	first, err := c.FindOne(ctx, filter, options.FindOne().SetSort(bson.D{{Key: "created_at", Value: 1}})).Raw()
	if errors.Is(err, driver.ErrNoDocuments) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, fault("find the first pending approval", err)
	}
	at, _ := first.Lookup("created_at").TimeOK()
	return max(1, int(n)), at.UTC(), nil
}

package mongo

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// requestDocument is a request. Opening is there until its first advance: what
// was decided with it, so that whoever finds token or record missing after a
// crash adds those of this decision and not of a later one.
type requestDocument struct {
	engine.Request `bson:",inline"`
	Opening        *opening `bson:"opening,omitempty"`
}

type opening struct {
	Token    *engine.Token     `bson:"token"`
	Approval *engine.Approval  `bson:"approval"`
	Audit    engine.AuditEntry `bson:"audit"`
	Event    *engine.Event     `bson:"event"`
}

// OpenRequest implements engine.Requests.
func (s *Store) OpenRequest(ctx context.Context, first engine.Step) (engine.Request, error) {
	var decided requestDocument
	err := s.change(*first.Record, func() (bool, error) {
		doc := requestDocument{Request: first.Request, Opening: &opening{
			Token: first.Token, Approval: first.Approval, Audit: first.Record.Audit, Event: first.Record.Event,
		}}
		stored, _, err := s.insert(ctx, s.db.Collection(requestsName), doc)
		if err != nil {
			return false, err
		}
		if decided, err = decode[requestDocument](stored); err != nil {
			return false, err
		}
		o := decided.Opening
		if o == nil {
			return true, nil // it advanced since, so nothing was missing
		}
		if err := s.follow(ctx, engine.Step{Token: o.Token, Approval: o.Approval}); err != nil {
			return false, err
		}
		_, err = s.record(ctx, engine.Record{Audit: o.Audit, Event: o.Event})
		return true, err
	})
	if err != nil {
		return engine.Request{}, err
	}
	return decided.Request, nil
}

// follow writes what a request brings: token and approval. A token that is there
// stays.
func (s *Store) follow(ctx context.Context, step engine.Step) error {
	if step.Token != nil {
		if _, _, err := s.insert(ctx, s.db.Collection(tokensName), step.Token); err != nil {
			return err
		}
	}
	if step.Approval != nil {
		return s.putApproval(ctx, *step.Approval)
	}
	return nil
}

// AdvanceRequest implements engine.Requests. What the request brings comes first,
// so that taking the step again finds it. The condition is the server's to check;
// that one workflow alone writes a request makes it enough.
func (s *Store) AdvanceRequest(ctx context.Context, next engine.Step) error {
	if next.Record != nil {
		if err := checkRecord(*next.Record); err != nil {
			return err
		}
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	if err := s.follow(ctx, next); err != nil {
		return err
	}
	c, r := s.db.Collection(requestsName), next.Request
	older := bson.D{{Key: "_id", Value: r.ID}, {Key: "version", Value: bson.D{{Key: "$lt", Value: r.Version}}}}
	replaced, err := c.ReplaceOne(ctx, older, requestDocument{Request: r})
	if err != nil {
		return fault("advance request", err)
	}
	if replaced.MatchedCount == 0 {
		_, err = find[requestDocument](ctx, c, byID(r.ID))
	}
	if err == nil && next.Record != nil {
		_, err = s.record(ctx, *next.Record)
	}
	return err
}

// Request implements engine.Requests.
func (s *Store) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	doc, err := find[requestDocument](ctx, s.db.Collection(requestsName), bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}})
	return doc.Request, err
}

// RequestByIdempotency implements engine.Requests.
func (s *Store) RequestByIdempotency(ctx context.Context, idempotencyID string) (engine.Request, error) {
	if idempotencyID == "" {
		return engine.Request{}, engine.ErrNotFound
	}
	newest := options.FindOne().SetSort(bson.D{{Key: "created_at", Value: -1}})
	doc, err := find[requestDocument](ctx, s.db.Collection(requestsName), bson.D{{Key: "idempotency_id", Value: idempotencyID}}, newest)
	return doc.Request, err
}

// Requests implements engine.Requests.
func (s *Store) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	filter := filtered(bson.D{
		{Key: "project_id", Value: q.ProjectID},
		{Key: "requester.person", Value: q.Person},
		{Key: "status", Value: string(q.Status)},
		{Key: "certificate_id", Value: q.CertificateID},
	})
	docs, next, err := list(ctx, s.db.Collection(requestsName), filter, q.Page, func(d requestDocument) engine.Cursor {
		return engine.Cursor{Time: d.CreatedAt, ID: d.ID}
	})
	requests := make([]engine.Request, 0, len(docs))
	for _, d := range docs {
		requests = append(requests, d.Request)
	}
	return requests, next, err
}

// ended are the states in which a request changes no more.
var ended = []engine.Status{
	engine.StatusConsumed, engine.StatusDenied, engine.StatusExpired, engine.StatusCancelled, engine.StatusRevoked,
}

// PurgeRequests implements engine.Requests.
func (s *Store) PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	defer s.end()
	c := s.db.Collection(requestsName)
	old := bson.D{
		{Key: "status", Value: bson.D{{Key: "$in", Value: ended}}},
		{Key: "updated_at", Value: bson.D{{Key: "$lt", Value: before}}},
	}
	docs, err := findAll[requestDocument](ctx, c, old, options.Find().
		SetSort(bson.D{{Key: "updated_at", Value: 1}}).SetLimit(int64(limit)).SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return 0, err
	}
	ids := make([]string, 0, len(docs))
	for _, d := range docs {
		ids = append(ids, d.ID)
	}
	// The approvals go first: those of a request that is gone nobody would find.
	if len(ids) > 0 {
		ofThem := bson.D{{Key: "request_id", Value: bson.D{{Key: "$in", Value: ids}}}}
		if _, err := s.db.Collection(approvalsName).DeleteMany(ctx, ofThem); err != nil {
			return 0, fault("delete from "+approvalsName, err)
		}
	}
	return deleteByID(ctx, c, ids)
}

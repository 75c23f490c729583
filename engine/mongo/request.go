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
	Token *engine.Token     `bson:"token"`
	Audit engine.AuditEntry `bson:"audit"`
	Event *engine.Event     `bson:"event"`
}

// OpenRequest implements engine.Requests.
func (s *Store) OpenRequest(ctx context.Context, r engine.Request, token *engine.Token, rec engine.Record) (engine.Request, error) {
	var decided requestDocument
	err := s.change(rec, func() (bool, error) {
		doc := requestDocument{Request: r, Opening: &opening{Token: token, Audit: rec.Audit, Event: rec.Event}}
		stored, _, err := s.insert(ctx, s.db.Collection(requestsName), doc)
		if err != nil {
			return false, err
		}
		if decided, err = decode[requestDocument](stored); err != nil {
			return false, err
		}
		first := decided.Opening
		if first == nil {
			return true, nil // it advanced since, so nothing was missing
		}
		if first.Token != nil {
			if _, _, err := s.insert(ctx, s.db.Collection(tokensName), first.Token); err != nil {
				return false, err
			}
		}
		_, err = s.record(ctx, engine.Record{Audit: first.Audit, Event: first.Event})
		return true, err
	})
	if err != nil {
		return engine.Request{}, err
	}
	return decided.Request, nil
}

// AdvanceRequest implements engine.Requests. The condition is the server's to
// check; that one workflow alone writes a request makes it enough.
func (s *Store) AdvanceRequest(ctx context.Context, r engine.Request) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	c := s.db.Collection(requestsName)
	older := bson.D{{Key: "_id", Value: r.ID}, {Key: "version", Value: bson.D{{Key: "$lt", Value: r.Version}}}}
	replaced, err := c.ReplaceOne(ctx, older, requestDocument{Request: r})
	if err != nil {
		return fault("advance request", err)
	}
	if replaced.MatchedCount == 0 {
		_, err = find[requestDocument](ctx, c, byID(r.ID))
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
	filter := bson.D{}
	for _, member := range []bson.E{
		{Key: "project_id", Value: q.ProjectID},
		{Key: "requester.person", Value: q.Person},
		{Key: "status", Value: string(q.Status)},
		{Key: "certificate_id", Value: q.CertificateID},
	} {
		if member.Value != "" {
			filter = append(filter, member)
		}
	}
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
	return deleteByID(ctx, c, ids)
}

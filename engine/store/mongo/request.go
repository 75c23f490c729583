package mongo

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// requestDocument is a request. Follow holds what its latest transition writes to
// other collections after it, so that a later call can add what a crash left
// missing.
type requestDocument struct {
	engine.Request `bson:",inline"`
	Follow         *follow `json:"follow,omitempty"`
}

type follow struct {
	Token    *engine.Token      `json:"token"`
	Approval *engine.Approval   `json:"approval"`
	Audit    *engine.AuditEntry `json:"audit"`
	Event    *engine.Event      `json:"event"`
}

func newRequestDocument(s engine.Transition) (requestDocument, error) {
	doc := requestDocument{Request: s.Request}
	if s.Token == nil && s.Approval == nil && s.Record == nil {
		return doc, nil
	}
	doc.Follow = &follow{Token: s.Token, Approval: s.Approval}
	if s.Record == nil {
		return doc, nil
	}
	doc.Follow.Audit, doc.Follow.Event = &s.Record.Audit, s.Record.Event
	return doc, checkRecord(*s.Record)
}

// complete adds what is missing of the latest transition of a stored request. A
// token that is stored already stays as it is.
func (s *Store) complete(ctx context.Context, doc requestDocument) error {
	b := doc.Follow
	if b == nil {
		return nil
	}
	if !doc.followsItself() {
		return errForeign(requestsName, doc.ID)
	}
	if b.Token != nil {
		if _, _, err := s.insert(ctx, s.db.Collection(tokensName), tokenDocument{b.Token.Digest, *b.Token}); err != nil {
			return err
		}
	}
	if b.Approval != nil {
		if err := s.putApproval(ctx, *b.Approval); err != nil {
			return err
		}
	}
	if b.Audit == nil {
		return nil
	}
	return s.record(ctx, engine.Record{Audit: *b.Audit, Event: b.Event})
}

// errForeign refuses to complete a document by what belongs to something else. Whoever can
// only write to the database could otherwise have this server write any document, and sign an
// entry about anything.
func errForeign(collection, id string) error {
	return fmt.Errorf("%s %s: what would complete it belongs to something else; somebody changed it in the database", collection, id)
}

// followsItself reports whether everything that is to follow belongs to the request.
func (d requestDocument) followsItself() bool {
	f := d.Follow
	own := func(requestID, projectID string) bool { return requestID == d.ID && projectID == d.ProjectID }
	return (f.Token == nil || f.Token.Digest == d.TokenDigest && own(f.Token.RequestID, f.Token.ProjectID)) &&
		(f.Approval == nil || f.Approval.ID == d.ApprovalID && own(f.Approval.RequestID, f.Approval.ProjectID)) &&
		(f.Event == nil || own(f.Event.RequestID, f.Event.ProjectID)) &&
		(f.Audit == nil || f.Audit.RequestID == d.ID &&
			isOf(*f.Audit, d.ProjectID, requestsName+"/"+d.ID, approvalsName+"/"+d.ApprovalID, tokensName+"/"+d.TokenDigest))
}

// isOf reports whether an entry is of a project and has digests of these documents alone.
func isOf(e engine.AuditEntry, projectID string, documents ...string) bool {
	return e.ProjectID == projectID && !slices.ContainsFunc(e.Documents, func(w engine.DocumentDigest) bool {
		return !slices.Contains(documents, w.Document+"/"+w.ID)
	})
}

// OpenRequest implements engine.Requests.
func (s *Store) OpenRequest(ctx context.Context, first engine.Transition) (engine.Request, error) {
	doc, err := newRequestDocument(first)
	if err != nil {
		return engine.Request{}, err
	}
	if err := s.begin(); err != nil {
		return engine.Request{}, err
	}
	defer s.end()
	stored, _, err := s.insert(ctx, s.db.Collection(requestsName), doc)
	if err != nil {
		return engine.Request{}, err
	}
	decided, err := decode[requestDocument](stored)
	if err != nil {
		return engine.Request{}, err
	}
	return decided.Request, s.complete(ctx, decided)
}

// AdvanceRequest implements engine.Requests. It first completes the transition
// before, because a crash may have interrupted it. The server compares the versions
// and replaces the request in one operation.
func (s *Store) AdvanceRequest(ctx context.Context, next engine.Transition) error {
	doc, err := newRequestDocument(next)
	if err != nil {
		return err
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	c, r := s.db.Collection(requestsName), next.Request
	stored, err := find[requestDocument](ctx, c, byID(r.ID))
	if err != nil {
		return err
	}
	if stored.Version >= r.Version {
		if !same(stored.Request, r) {
			return engine.CodeConflict
		}
		return s.complete(ctx, stored)
	}
	if r.ApprovalID != "" {
		if err := s.complete(ctx, stored); err != nil {
			return err
		}
	}
	switch replaced, err := replaceOlder(ctx, c, r.ID, r.Version, doc); {
	case err != nil:
		return err
	case !replaced:
		return engine.CodeConflict
	}
	return s.complete(ctx, doc)
}

// CompleteRequest implements engine.Requests.
func (s *Store) CompleteRequest(ctx context.Context, projectID, id string) (engine.Request, error) {
	doc, err := s.requestDocument(ctx, projectID, id)
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		return engine.Request{}, err
	}
	defer s.end()
	return doc.Request, s.complete(ctx, doc)
}

// same reports whether two requests have the same stored form.
func same(a, b engine.Request) bool {
	x, errX := encode(a)
	y, errY := encode(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// Request implements engine.Requests.
func (s *Store) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	doc, err := s.requestDocument(ctx, projectID, id)
	return doc.Request, err
}

func (s *Store) requestDocument(ctx context.Context, projectID, id string) (requestDocument, error) {
	return find[requestDocument](ctx, s.db.Collection(requestsName), bson.D{{Key: "_id", Value: id}, {Key: "project_id", Value: projectID}})
}

// RequestByIdempotency implements engine.Requests.
func (s *Store) RequestByIdempotency(ctx context.Context, idempotencyID string) (engine.Request, error) {
	if idempotencyID == "" {
		return engine.Request{}, engine.CodeNotFound
	}
	newest := options.FindOne().SetSort(bson.D{{Key: "created_at", Value: -1}})
	doc, err := find[requestDocument](ctx, s.db.Collection(requestsName), bson.D{{Key: "idempotency_id", Value: idempotencyID}}, newest)
	return doc.Request, err
}

// Requests implements engine.Requests.
func (s *Store) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	return s.listRequests(ctx, requestFilter(q), q.Page)
}

// UnendedRequests implements engine.Requests.
func (s *Store) UnendedRequests(ctx context.Context, page engine.Page) ([]engine.Request, string, error) {
	return s.listRequests(ctx, bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: unended}}}}, page)
}

func (s *Store) listRequests(ctx context.Context, filter bson.D, page engine.Page) ([]engine.Request, string, error) {
	docs, next, err := list(ctx, s.db.Collection(requestsName), filter, page, "created_at", func(d requestDocument) engine.Cursor {
		return engine.Cursor{Time: d.CreatedAt, ID: d.ID}
	})
	requests := make([]engine.Request, 0, len(docs))
	for _, d := range docs {
		requests = append(requests, d.Request)
	}
	return requests, next, err
}

// CountRequests implements engine.Requests.
func (s *Store) CountRequests(ctx context.Context, q engine.RequestQuery) (int, error) {
	n, err := s.db.Collection(requestsName).CountDocuments(ctx, requestFilter(q), options.Count().SetLimit(int64(q.Limit)))
	if err != nil {
		return 0, fault("count requests", err)
	}
	return int(n), nil
}

func requestFilter(q engine.RequestQuery) bson.D {
	return filtered(bson.D{
		{Key: "project_id", Value: q.ProjectID},
		{Key: "requester.person", Value: q.Person},
		{Key: "status", Value: string(q.Status)},
		{Key: "certificate_id", Value: q.CertificateID},
	})
}

// ended are the final states of a request, unended the others.
var (
	ended = []engine.Status{
		engine.StatusConsumed, engine.StatusDenied, engine.StatusExpired, engine.StatusCancelled, engine.StatusRevoked,
	}
	unended = []engine.Status{engine.StatusPendingApproval, engine.StatusApproved, engine.StatusIssued}
)

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
	// The approvals are deleted first: without their requests they could not be found.
	if len(ids) > 0 {
		ofRequests := bson.D{{Key: "request_id", Value: bson.D{{Key: "$in", Value: ids}}}}
		if _, err := s.db.Collection(approvalsName).DeleteMany(ctx, ofRequests); err != nil {
			return 0, fault("delete from "+approvalsName, err)
		}
	}
	return deleteByID(ctx, c, ids)
}

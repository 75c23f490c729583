package mongo

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// auditDocument is an entry under its place in its chain. Each place can be inserted
// only once, so two processes cannot fork a chain.
type auditDocument struct {
	ID                string `json:"id"`
	engine.AuditEntry `bson:",inline"`
}

func newAuditDocument(e engine.AuditEntry) auditDocument {
	// The number has as many digits as an int64 can have, so that ids sort by number.
	return auditDocument{ID: fmt.Sprintf("%s/%019d", e.ProjectID, e.Seq), AuditEntry: e}
}

// UseAuditKey implements engine.AuditLog. It has the entries linked that an earlier
// process left.
func (s *Store) UseAuditKey(ctx context.Context, key []byte) error {
	s.auditKey = key
	s.links.Store(true)
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	s.writes.Go(s.audit.watch)
	return s.audit.resume(ctx)
}

// Append implements engine.AuditLog.
func (s *Store) Append(ctx context.Context, e engine.AuditEntry) error {
	return s.change(engine.Record{Audit: e}, func() (bool, error) {
		return true, s.audit.append(ctx, e)
	})
}

// AuditWaiting implements engine.AuditLog.
func (s *Store) AuditWaiting(ctx context.Context) (entries int, since time.Time, err error) {
	c := s.db.Collection(waitingName)
	n, err := c.CountDocuments(ctx, bson.D{})
	if err != nil {
		return 0, time.Time{}, fault("count the waiting audit entries", err)
	}
	first, err := findAll[waitingEntry](ctx, c, bson.D{}, options.Find().SetSort(bson.D{{Key: "order", Value: 1}}).SetLimit(1))
	if err != nil || len(first) == 0 { // they were linked meanwhile
		return 0, time.Time{}, err
	}
	return int(n), time.Unix(0, first[0].Order).UTC(), nil
}

// AuditEntries implements engine.AuditLog. Its cursor is a sequence number. An entry that is
// not in its place, or cannot be read, has no hash.
func (s *Store) AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	filter, err := auditFilter(q)
	if err != nil {
		return nil, "", err
	}
	if err := s.audit.linker(q.ProjectID).link(ctx, maxLinkTries); err != nil {
		return nil, "", err
	}
	entries, err := s.auditRows(ctx, filter, options.Find().SetSort(bson.D{{Key: "seq", Value: -1}}).SetLimit(int64(q.Limit)+1))
	if err != nil || len(entries) <= q.Limit {
		return entries, "", err
	}
	entries = entries[:q.Limit]
	last := strconv.FormatInt(entries[q.Limit-1].Seq, 10)
	return entries, engine.Cursor{ID: last}.String(), nil
}

func auditFilter(q engine.AuditQuery) (bson.D, error) {
	filter := bson.D{{Key: "project_id", Value: q.ProjectID}}
	for _, member := range []bson.E{
		{Key: "action", Value: q.Action},
		{Key: "certificate_id", Value: q.CertificateID},
		{Key: "request_id", Value: q.RequestID},
	} {
		if member.Value != "" {
			filter = append(filter, member)
		}
	}
	if q.Actor != "" {
		filter = append(filter, bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "actor.id", Value: q.Actor}}, bson.D{{Key: "actor.person", Value: q.Actor}},
		}})
	}
	span := bson.D{}
	if !q.From.IsZero() {
		span = append(span, bson.E{Key: "$gte", Value: q.From})
	}
	if !q.To.IsZero() {
		span = append(span, bson.E{Key: "$lt", Value: q.To})
	}
	if len(span) > 0 {
		filter = append(filter, bson.E{Key: "time", Value: span})
	}
	place, err := auditPlace(q)
	if len(place) > 0 {
		filter = append(filter, bson.E{Key: "seq", Value: place})
	}
	return filter, err
}

// auditPlace is the query's condition on an entry's number.
func auditPlace(q engine.AuditQuery) (bson.D, error) {
	var place bson.D
	if q.Seq != 0 {
		place = bson.D{{Key: "$eq", Value: q.Seq}}
	}
	at, ok, err := q.Position()
	if err != nil || !ok {
		return place, err
	}
	seq, err := strconv.ParseInt(at.ID, 10, 64)
	if err != nil {
		return nil, engine.Errorf(engine.CodeInvalidRequest, "cursor belongs to another listing; use one that this listing returned").Because(err)
	}
	return append(place, bson.E{Key: "$lt", Value: seq}), nil
}

// AuditAfter implements engine.AuditLog. An entry that is not in its place, or cannot be
// read, has no hash, so that a verification finds it.
func (s *Store) AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]engine.AuditEntry, error) {
	if err := s.audit.linker(chain).link(ctx, maxLinkTries); err != nil {
		return nil, err
	}
	return s.auditRows(ctx, afterPlace(chain, seq), options.Find().SetSort(bson.D{{Key: "seq", Value: 1}}).SetLimit(int64(limit)))
}

// AuditNews implements engine.AuditLog. It links nothing: the process that appended an
// entry does so within a moment. The order is that of the chains' index, backwards.
func (s *Store) AuditNews(ctx context.Context, after map[string]int64, limit int) ([]engine.AuditEntry, error) {
	places := bson.A{}
	for chain, seq := range after {
		places = append(places, afterPlace(chain, seq))
	}
	if len(places) == 0 {
		return nil, nil
	}
	order := bson.D{{Key: "project_id", Value: -1}, {Key: "seq", Value: 1}}
	return s.auditRows(ctx, bson.D{{Key: "$or", Value: places}}, options.Find().SetSort(order).SetLimit(int64(limit)))
}

func afterPlace(chain string, seq int64) bson.D {
	return bson.D{{Key: "project_id", Value: chain}, {Key: "seq", Value: bson.D{{Key: "$gt", Value: seq}}}}
}

// auditRows reads entries. One that is not in its place, or cannot be read, has no hash.
func (s *Store) auditRows(ctx context.Context, filter bson.D, opts *options.FindOptions) ([]engine.AuditEntry, error) {
	docs, err := findAll[bson.Raw](ctx, s.db.Collection(auditName), filter, opts)
	entries := make([]engine.AuditEntry, 0, len(docs))
	for _, raw := range docs {
		doc, err := decode[auditDocument](raw)
		if err != nil || doc.ID != newAuditDocument(doc.AuditEntry).ID {
			doc.Hash = ""
		}
		entries = append(entries, doc.AuditEntry)
	}
	return entries, err
}

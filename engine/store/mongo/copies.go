package mongo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

// copied is a kind of document that can be carried to another store.
type copied struct {
	collection string
	filter     bson.D
	export     func(raw bson.Raw) (engine.StoredDocument, error)
	// stored is the document as insert stores it.
	stored func(d engine.StoredDocument) (any, error)
}

// carried makes a kind whose documents of type T are stored as wrap says.
func carried[T any](collection string, filter bson.D, wrap func(id string, doc T) any) copied {
	return copied{
		collection: collection, filter: filter,
		export: func(raw bson.Raw) (d engine.StoredDocument, err error) {
			doc, err := decode[T](raw)
			if err != nil {
				return d, err
			}
			d.ID = idOf(raw)
			d.JSON, err = json.Marshal(doc)
			return d, err
		},
		stored: func(d engine.StoredDocument) (any, error) {
			var doc T
			if err := json.Unmarshal(d.JSON, &doc); err != nil {
				return nil, fmt.Errorf("decode %s %s: %w", collection, d.ID, err)
			}
			return wrap(d.ID, doc), nil
		},
	}
}

// plain is carried for documents that are stored as they are.
func plain[T any](collection string, filter ...bson.E) copied {
	return carried(collection, append(bson.D{}, filter...), func(_ string, doc T) any { return doc })
}

func sealed(collection string) copied {
	return carried(collection, bson.D{}, func(id string, k engine.SealedKey) any { return keyDocument{id, k} })
}

// exists is a condition on a member that is absent or null otherwise.
func exists(member string) bson.E {
	return bson.E{Key: member, Value: bson.D{{Key: "$ne", Value: nil}}}
}

// copies are all kinds, by [engine.DocumentKinds]. A document that is being removed
// counts as removed.
var copies = map[string]copied{
	"projects": plain[engine.Project](projectsName),
	"users":    plain[engine.User](usersName),
	"members":  carried(membersName, bson.D{notRemoved}, func(_ string, m engine.Member) any { return newMemberDocument(m) }),
	// The entry of the removal is in the audit log already, so the mark names none.
	"former_members": carried(membersName, bson.D{exists("removed_by")}, func(_ string, m engine.Member) any {
		former := newMemberDocument(m)
		former.RemovedBy = &engine.AuditEntry{}
		return former
	}),
	"api_keys":             plain[engine.APIKey](apiKeysName),
	"sessions":             plain[engine.Session](sessionsName, notRemoved),
	"certificates":         carried(certificatesName, bson.D{}, func(_ string, c engine.Certificate) any { return newCertificateDocument(c) }),
	"certificate_keys":     sealed(certificateKeysName),
	"certificate_events":   plain[engine.Event](eventsName),
	"certificate_policies": carried(policiesName, bson.D{}, func(_ string, p engine.CertificatePolicy) any { return newPolicyDocument(p) }),
	"download_requests":    carried(requestsName, bson.D{}, func(_ string, r engine.Request) any { return requestDocument{Request: r} }),
	"approval_requests":    plain[engine.Approval](approvalsName),
	"download_tokens":      carried(tokensName, bson.D{issued}, func(_ string, t engine.Token) any { return tokenDocument{t.Digest, t} }),
	"token_settlements": carried(tokensName, bson.D{exists("kind")}, func(_ string, s engine.Settlement) any {
		return settlementDocument{s.Digest + settlementSuffix, s}
	}),
	"notification_targets": carried(targetsName, bson.D{notRemoved}, func(_ string, t engine.NotificationTarget) any { return t }),
	"audit_logs":           carried(auditName, bson.D{}, func(_ string, e engine.AuditEntry) any { return newAuditDocument(e) }),
	"data_keys":            sealed(dataKeysName),
}

func kindOf(kind string) (copied, error) {
	c, known := copies[kind]
	if !known {
		return c, fmt.Errorf("mongo: there is no kind of document %q", kind)
	}
	return c, nil
}

// ExportDocuments implements engine.DocumentCopies. It leaves out the keys whose
// certificates a crash prevented: nobody can reach them.
func (s *Store) ExportDocuments(ctx context.Context, kind string, visit func(engine.StoredDocument) error) (err error) {
	c, err := kindOf(kind)
	if err != nil {
		return err
	}
	opts, reachable := options.Find(), map[string]bool{}
	switch kind {
	case auditName: // the index of the chains, backwards; their names are in no order
		opts.SetSort(bson.D{{Key: "project_id", Value: -1}, {Key: "seq", Value: 1}})
	case certificateKeysName:
		if reachable, err = s.idsOf(ctx, certificatesName, "_id"); err != nil {
			return err
		}
	}
	return s.each(ctx, c.collection, c.filter, opts, func(raw bson.Raw) error {
		d, err := c.export(raw)
		if err != nil || kind == certificateKeysName && !reachable[d.ID] {
			return err
		}
		return visit(d)
	})
}

// each visits the documents that the filter selects.
func (s *Store) each(ctx context.Context, collection string, filter bson.D, opts *options.FindOptions, visit func(bson.Raw) error) (err error) {
	what := "read " + collection
	cursor, err := s.db.Collection(collection).Find(ctx, filter, opts)
	if err != nil {
		return fault(what, err)
	}
	defer func() { err = errors.Join(err, cursor.Close(ctx)) }()
	for cursor.Next(ctx) {
		if err := visit(cursor.Current); err != nil {
			return err
		}
	}
	if err := cursor.Err(); err != nil {
		return fault(what, err)
	}
	return nil
}

// idsOf are the values of a text member of all documents of a collection.
func (s *Store) idsOf(ctx context.Context, collection, member string) (map[string]bool, error) {
	ids := map[string]bool{}
	err := s.each(ctx, collection, bson.D{}, options.Find().SetProjection(bson.D{{Key: member, Value: 1}}), func(raw bson.Raw) error {
		id, _ := raw.Lookup(strings.Split(member, ".")...).StringValueOK()
		ids[id] = true
		return nil
	})
	return ids, err
}

// ImportDocuments implements engine.DocumentCopies.
func (s *Store) ImportDocuments(ctx context.Context, kind string, documents []engine.StoredDocument) error {
	c, err := kindOf(kind)
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		return err
	}
	defer s.end()
	var docs []any
	for _, d := range documents {
		doc, err := c.stored(d)
		if target, ok := doc.(engine.NotificationTarget); ok && err == nil {
			err = s.importTarget(ctx, c, target)
		} else {
			docs = append(docs, doc)
		}
		if err != nil {
			return err
		}
	}
	return s.importAll(ctx, c, docs)
}

// importTarget stores a target in a free place, or in its own if it is stored.
func (s *Store) importTarget(ctx context.Context, c copied, t engine.NotificationTarget) error {
	place, err := s.freePlace(ctx, t, math.MaxInt)
	if err != nil {
		return err
	}
	return s.importOne(ctx, c, targetDocument{t, place})
}

// importAll inserts documents by one command and, if that failed, each by its own.
func (s *Store) importAll(ctx context.Context, c copied, docs []any) error {
	if len(docs) == 0 {
		return nil
	}
	raws := make([]any, len(docs))
	for i, doc := range docs {
		raw, err := encode(doc)
		if err != nil {
			return err
		}
		raws[i] = raw
	}
	if _, err := s.db.Collection(c.collection).InsertMany(ctx, raws); err == nil {
		return nil
	}
	for _, doc := range docs {
		if err := s.importOne(ctx, c, doc); err != nil {
			return err
		}
	}
	return nil
}

// importOne inserts a document unless it is stored. It compares JSON, because BSON has the
// members of a map in any order.
func (s *Store) importOne(ctx context.Context, c copied, doc any) error {
	var unique []string
	for _, i := range indexes {
		if i.collection == c.collection && i.unique && len(i.members) == 1 {
			unique = append(unique, i.members...)
		}
	}
	stored, fresh, err := s.insert(ctx, s.db.Collection(c.collection), doc, unique...)
	if err != nil || fresh {
		return err
	}
	wanted, err := encode(doc)
	if err != nil {
		return err
	}
	before, errBefore := c.export(stored)
	after, errAfter := c.export(wanted)
	if err := errors.Join(errBefore, errAfter); err != nil {
		return err
	}
	if before.ID != after.ID || !bytes.Equal(before.JSON, after.JSON) {
		return fmt.Errorf("%s %s: %w", c.collection, after.ID, engine.CodeExists)
	}
	return nil
}

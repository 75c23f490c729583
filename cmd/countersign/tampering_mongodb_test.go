package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
)

var unfoundInMongoDB = unfound{
	{"no entry has the digest of a session: it has a MAC of its own, without which it opens nothing", []string{"sessions._id: member"}},
	{"a sealed key does not name its id; it opens under no other", []string{"data_keys._id: member"}},
	{"a sealed key of no certificate is not read; a crash may leave one", []string{"certificate_keys: insertion"}},
	{"it repeats, for the time after a crash, documents that have digests of their own", []string{"download_requests.follow: member"}},
	{"the log says that the membership ended; what is kept of it is only when, and the log has that too", []string{
		"members (removed).created_at: member", "members (removed).former_until: member", "members (removed).role: member",
		"members (removed).removed_by: member", "members (removed): deletion",
	}},
}

// Whoever changes, deletes or adds anything in the database is found, except for what
// the test lists.
func TestTamperingWithMongoDBIsFound(t *testing.T) {
	if !soak {
		t.Skip("FerretDB takes two minutes; COUNTERSIGN_SOAK=1 runs it")
	}
	t.Parallel()
	dir, uri := filepath.Join(t.TempDir(), "data"), mongoURI(t)
	s := start(t, binary(t), dir, "COUNTERSIGN_NOTIFICATIONS_ALLOW_HOSTS=127.0.0.1", "COUNTERSIGN_MONGODB_URI="+uri)
	s.mongoURI = uri
	client, err := driver.Connect(t.Context(), options.Client().ApplyURI(uri))
	noError(t, err)
	defer func() { noError(t, client.Disconnect(context.Background())) }()
	d := &tamperedDocuments{t: t, db: client.Database("countersign"), findings: findings{}}
	early := d.all()
	s.used()
	s.stop()
	s.inStoreWithKey(func(store engine.Store, key []byte) {
		d.verification = s.verification(store, key)
		d.tryAll()
		d.rollBack(early)
	})
	d.report(t, unfoundAnywhere, unfoundInMongoDB)
}

// all are the documents of the whole database, by collection.
func (d *tamperedDocuments) all() map[string][]bson.D {
	d.t.Helper()
	names, err := d.db.ListCollectionNames(d.t.Context(), bson.D{})
	noError(d.t, err)
	all := map[string][]bson.D{}
	for _, name := range names {
		cursor, err := d.db.Collection(name).Find(d.t.Context(), bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		noError(d.t, err)
		var docs []bson.D
		noError(d.t, cursor.All(d.t.Context(), &docs))
		all[name] = docs
	}
	return all
}

// rollBack verifies the database as it was earlier.
func (d *tamperedDocuments) rollBack(early map[string][]bson.D) {
	d.t.Helper()
	for name := range d.all() {
		_, err := d.db.Collection(name).DeleteMany(d.t.Context(), bson.D{})
		noError(d.t, err)
		for _, doc := range early[name] {
			_, err := d.db.Collection(name).InsertOne(d.t.Context(), doc)
			noError(d.t, err)
		}
	}
	d.add("database: rolled back", d.said())
}

// tamperedDocuments is a database with which somebody tampers, one change at a time.
type tamperedDocuments struct {
	t  *testing.T
	db *driver.Database
	*verification
	findings
}

func (d *tamperedDocuments) tryAll() {
	for collection, docs := range d.all() {
		if collection == "schema" || collection == "audit_waiting" {
			continue // the program refuses another version of the schema; no entry waits
		}
		for _, l := range some(collection, docs) {
			name, doc := l.name, l.doc
			for i, m := range doc {
				for _, other := range alteredBSON(m.Key, m.Value) {
					changed := slices.Clone(doc)
					changed[i].Value = other
					d.try(collection, memberChange(name, m.Key, m.Value, other), doc, changed)
				}
			}
			if l.removed {
				d.try(collection, name+": restored", doc, slices.DeleteFunc(slices.Clone(doc), func(m bson.E) bool { return m.Key == "removed_by" }))
			}
			d.try(collection, name+": deletion", doc, nil)
			d.try(collection, name+": insertion", nil, copied(doc))
		}
	}
}

// document is a document of a collection, under a name that says which.
type document struct {
	name    string
	doc     bson.D
	removed bool // it is marked so
}

// some are documents of a collection: the last one, and the first of each state.
func some(collection string, docs []bson.D) (some []document) {
	states := map[string]bool{}
	for i, doc := range docs {
		members := doc.Map()
		one := document{collection, doc, members["removed_by"] != nil}
		switch {
		case collection == "certificate_policies" && i < len(docs)-1:
			one.name += " (replaced)"
		case one.removed:
			one.name += " (removed)"
		}
		state := fmt.Sprint(one.name, members["status"], members["kind"])
		if i == len(docs)-1 || !states[state] && collection != "audit_logs" {
			some = append(some, one)
		}
		states[state] = true
	}
	return some
}

// try replaces a document by another one, notes what is said of it, and undoes it.
func (d *tamperedDocuments) try(collection, change string, before, after bson.D) {
	d.t.Helper()
	if d.exchange(collection, before, after) {
		d.add(change, d.said())
		d.exchange(collection, after, before)
	}
}

// exchange reports whether the database accepted the change.
func (d *tamperedDocuments) exchange(collection string, before, after bson.D) bool {
	d.t.Helper()
	if before != nil {
		result, err := d.db.Collection(collection).DeleteOne(d.t.Context(), bson.D{{Key: "_id", Value: before[0].Value}})
		noError(d.t, err)
		if result.DeletedCount != 1 {
			d.t.Fatalf("%s has no %v", collection, before[0].Value)
		}
	}
	if after == nil {
		return true
	}
	_, err := d.db.Collection(collection).InsertOne(d.t.Context(), after)
	if driver.IsDuplicateKeyError(err) {
		if before != nil {
			d.exchange(collection, nil, before)
		}
		return false
	}
	noError(d.t, err)
	return true
}

// copied is a document under other values of the members that are unique.
func copied(doc bson.D) bson.D {
	other := slices.Clone(doc)
	for i, m := range other {
		switch m.Key {
		case "_id", "username", "secret_digest", "user_id", "request_id", "digest", "ref", "place":
			if text, ok := m.Value.(string); ok {
				other[i].Value = "copy" + text
			}
		case "seq":
			other[i].Value = m.Value.(int64) + 1000
		}
	}
	return other
}

// alteredBSON is altered for a member of a document in MongoDB.
func alteredBSON(member string, value any) []any {
	switch value := value.(type) {
	case string, bool:
		return altered(member, value)
	case int32:
		return []any{value + 1}
	case int64:
		return []any{value + 1}
	case primitive.DateTime:
		return []any{primitive.NewDateTimeFromTime(value.Time().Add(-time.Minute))}
	case primitive.Binary:
		if len(value.Data) > 0 {
			return []any{primitive.Binary{Subtype: value.Subtype, Data: append(bytes.Clone(value.Data[1:]), 7)}}
		}
	case primitive.A:
		if len(value) > 0 {
			return []any{value[1:]}
		}
	case bson.D:
		for i, m := range value {
			if others := alteredBSON(m.Key, m.Value); others != nil {
				changed := slices.Clone(value)
				changed[i].Value = others[0]
				return []any{changed}
			}
		}
	}
	return nil
}

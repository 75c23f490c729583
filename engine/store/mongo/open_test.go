package mongo_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

func collections(t *testing.T, db *driver.Database) []string {
	t.Helper()
	names, err := db.ListCollectionNames(t.Context(), bson.D{})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// canonical sorts documents and their members.
func canonical(t *testing.T, docs []bson.M) string {
	t.Helper()
	lines := []string{}
	for _, doc := range docs {
		line, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Operators query and back up the collections, so their names and ids must not change.
func TestCollectionsAndIDs(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		store, ctx := open(t, uri), t.Context()
		rec := func() engine.Record { return engine.Record{Audit: entry("prj")} }
		for _, err := range []error{
			store.CreateProject(ctx, engine.Project{ID: "prj", CreatedAt: noon}, member, rec()),
			store.CreateUser(ctx, engine.User{ID: "user_a", Username: "a", CreatedAt: noon}, rec()),
			store.CreateCertificate(ctx, certificate, sealedKey, rec()),
			store.CreateAPIKey(ctx, apiKey, rec()),
			store.CreateSession(ctx, engine.Session{ID: "session_a", ExpiresAt: noon}, rec()),
			store.AddPolicy(ctx, engine.CertificatePolicy{ProjectID: "prj", Version: 12}, rec()),
			store.CreateNotificationTarget(ctx, engine.NotificationTarget{ID: "target_a", ProjectID: "prj", CreatedAt: noon}, 50, rec()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		opened, approval, request := rec(), engine.Approval{ID: "apr_a", ProjectID: "prj", RequestID: request.ID}, request
		request.ApprovalID = approval.ID
		if _, err := store.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Approval: &approval, Record: &opened}); err != nil {
			t.Fatal(err)
		}
		settle := rec()
		settle.Event = &engine.Event{ID: "event_a", ProjectID: "prj", Time: noon}
		if _, _, err := store.Settle(ctx, end, settle); err != nil {
			t.Fatal(err)
		}
		if _, err := store.DataKey(ctx, "codec", *sealedKey); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"api_keys": "key_a", "approval_requests": "apr_a", "audit_logs": "prj/0000000000000000001 prj/0000000000000000009", "certificate_events": "event_a",
			"certificate_keys": "cert_a", "certificate_policies": "prj/12", "certificates": "cert_a", "data_keys": "codec",
			"download_requests": "req_a", "download_tokens": "d0 d0/end", "members": "prj/user_a", "notification_targets": "target_a", "projects": "prj",
			"schema": "schema", "audit_waiting": "", "sessions": "session_a", "users": "user_a",
		}
		linked(t, store)
		checkIDs(t, db, want)
		checkMembers(t, db)
	})
}

func checkIDs(t *testing.T, db *driver.Database, want map[string]string) {
	t.Helper()
	for _, name := range collections(t, db) {
		cursor, err := db.Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var docs []struct {
			ID string `bson:"_id"`
		}
		if err := cursor.All(t.Context(), &docs); err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, doc := range docs {
			ids = append(ids, doc.ID)
		}
		slices.Sort(ids)
		if len(ids) > 2 {
			ids = []string{ids[0], ids[len(ids)-1]}
		}
		if got := strings.Join(ids, " "); got != want[name] {
			t.Errorf("%s holds %q, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not there: %v", want)
	}
}

// checkMembers checks the names and types of members on which other programs rely.
func checkMembers(t *testing.T, db *driver.Database) {
	t.Helper()
	for _, c := range []struct {
		collection, id, member string
		want                   any
	}{
		{"download_requests", "req_a", "created_at", primitive.NewDateTimeFromTime(noon)},
		{"download_requests", "req_a", "id", nil},
		{"download_tokens", "d0", "kind", nil},
		{"download_tokens", "d0", "issued_at", primitive.NewDateTimeFromTime(noon)},
		{"download_tokens", "d0/end", "time", primitive.NewDateTimeFromTime(noon)},
		{"certificate_events", "event_a", "time", primitive.NewDateTimeFromTime(noon)},
		{"certificate_keys", "cert_a", "keeper_id", "local"},
		{"data_keys", "codec", "keeper_id", "local"},
		{"download_tokens", "d0/end", "kind", "consumed"},
		{"audit_logs", "prj/0000000000000000001", "seq", int64(1)},
		{"certificate_policies", "prj/12", "version", int32(12)},
	} {
		var doc bson.M
		if err := db.Collection(c.collection).FindOne(t.Context(), bson.D{{Key: "_id", Value: c.id}}).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if doc[c.member] != c.want {
			t.Errorf("%s.%s is %#v, want %#v", c.collection, c.member, doc[c.member], c.want)
		}
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		if _, err := db.Collection("schema").InsertOne(t.Context(), bson.D{{Key: "_id", Value: "schema"}, {Key: "version", Value: 3}}); err != nil {
			t.Fatal(err)
		}
		if _, err := mongo.Open(t.Context(), uri); err == nil || !strings.Contains(err.Error(), "schema version 3") {
			t.Fatalf("opened with %v", err)
		}
		if names := collections(t, db); len(names) != 1 {
			t.Fatalf("a program that is too old made %v", names)
		}
	})
}

// A changed index is refused, and the error names it.
func TestOpenChecksIndexes(t *testing.T) {
	for name, model := range map[string]driver.IndexModel{
		"without its uniqueness": {Keys: bson.D{{Key: "ref", Value: 1}}},
		"with other members":     {Keys: bson.D{{Key: "refs", Value: 1}}, Options: options.Index().SetName("ref_1").SetUnique(true)},
		"under another name":     {Keys: bson.D{{Key: "ref", Value: 1}}, Options: options.Index().SetName("mine").SetUnique(true)},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryServer(t, func(t *testing.T, s server) {
				uri, db := s.database(t)
				if _, err := db.Collection("audit_logs").Indexes().CreateOne(t.Context(), model); err != nil {
					t.Fatal(err)
				}
				_, err := mongo.Open(t.Context(), uri)
				if err == nil || !strings.Contains(err.Error(), "index ref_1 of collection audit_logs") {
					t.Fatalf("opened with %v", err)
				}
			})
		})
	}
}

// Open makes a missing index again and keeps the others.
func TestOpenMakesMissingIndexes(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		open(t, uri)
		before := indexNames(t, db)
		if _, err := db.Collection("download_requests").Indexes().DropOne(t.Context(), "idempotency_id_1_created_at_-1"); err != nil {
			t.Fatal(err)
		}
		open(t, uri)
		if after := indexNames(t, db); !slices.Equal(before, after) || len(after) < 25 {
			t.Fatalf("indexes are %v, were %v", after, before)
		}
	})
}

// Open drops an index that another one has replaced, also if several nodes start at once.
func TestOpenDropsReplacedIndexes(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		open(t, uri)
		before := indexNames(t, db)
		if _, err := db.Collection("download_tokens").Indexes().CreateOne(t.Context(), driver.IndexModel{Keys: bson.D{{Key: "expires_at", Value: 1}}}); err != nil {
			t.Fatal(err)
		}
		together(make([]*mongo.Store, 1), 3, func(*mongo.Store, int) {
			store, err := mongo.Open(t.Context(), uri)
			if err == nil {
				err = store.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
		if after := indexNames(t, db); !slices.Equal(before, after) {
			t.Fatalf("indexes are %v, were %v", after, before)
		}
	})
}

func indexNames(t *testing.T, db *driver.Database) []string {
	t.Helper()
	var names []string
	for _, collection := range collections(t, db) {
		specs, err := db.Collection(collection).Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range specs {
			names = append(names, collection+"."+spec.Name)
		}
	}
	slices.Sort(names)
	return names
}

// No error contains a password, wherever it is in the URI.
func TestErrorsHoldNoPassword(t *testing.T) {
	const timeouts = "?serverSelectionTimeoutMS=1&connectTimeoutMS=1"
	for _, uri := range []string{
		"mongodb://app:hunter2@127.0.0.1:1/db" + timeouts,
		"mongodb://app:hunter2%zz@127.0.0.1:1/db",
		"mongodb://app:hunter2@@127.0.0.1:1/db",
		"mongodb://app:hunter2/x@127.0.0.1:1/db",
		"mongodb://app:hunter2@127.0.0.1:port/db",
		"mongodb://app:hunter2@127.0.0.1:1/db" + timeouts + "&w=hunter2",
		"mongodb://app:hunter2@127.0.0.1:1/db?readPreference=hunter2",
		"mongodb://app:hunter2@127.0.0.1:1/db?authMechanismProperties=hunter2",
		"postgres://app:hunter2@127.0.0.1/db",
		"app:hunter2@127.0.0.1",
		"",
	} {
		store, err := mongo.Open(context.Background(), uri)
		if err == nil {
			t.Errorf("opened %q: %v", uri, store.Close())
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "app:") {
			t.Errorf("%q gave an error that holds it: %v", uri, err)
		}
	}
}

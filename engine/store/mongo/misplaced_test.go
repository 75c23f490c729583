package mongo_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// unnamed are the values beside documents whose change the store alone cannot find,
// with the reason.
var unnamed = map[string]string{
	"certificate_keys._id":     "the sealed key does not name its certificate; package keys binds the ciphertext to it, so it opens under no other",
	"data_keys._id":            "the sealed key does not name its id; package keys binds the ciphertext to it, so it opens under no other",
	"download_requests.follow": "it is what the request's latest transition writes to other collections, not a value under which the request is found",
	"members.removed_by":       "it says that the membership ended: a state of the document, which only the audit log can confirm",
}

// types are the documents of the engine in each collection.
var types = map[string]any{
	"api_keys": engine.APIKey{}, "approval_requests": engine.Approval{}, "audit_logs": engine.AuditEntry{}, "certificate_events": engine.Event{},
	"certificate_keys": engine.SealedKey{}, "certificate_policies": engine.CertificatePolicy{}, "certificates": engine.Certificate{},
	"data_keys": engine.SealedKey{}, "download_requests": engine.Request{}, "download_tokens": engine.Token{}, "members": engine.Member{},
	"notification_targets": engine.NotificationTarget{}, "projects": engine.Project{}, "sessions": engine.Session{}, "users": engine.User{},
	"download_tokens/end": engine.Settlement{},
}

// filled is a store with a document in every collection, and a connection of somebody
// else to its database.
func filled(t *testing.T, s server) (*mongo.Store, *driver.Database) {
	t.Helper()
	uri, db := s.database(t)
	store, ctx := open(t, uri), t.Context()
	rec := func() engine.Record { return engine.Record{Audit: entry("prj")} }
	former := member
	former.UserID = "user_b"
	for _, err := range []error{
		store.UseAuditKey(ctx, []byte("audit key")),
		store.CreateProject(ctx, engine.Project{ID: "prj", CreatedAt: noon}, member, rec()),
		store.SetMember(ctx, former, rec()),
		store.RemoveMember(ctx, "prj", "user_b", noon, rec()),
		store.CreateUser(ctx, engine.User{ID: "user_a", Username: "a", CreatedAt: noon}, rec()),
		store.CreateCertificate(ctx, certificate, sealedKey, rec()),
		store.CreateAPIKey(ctx, apiKey, rec()),
		store.CreateSession(ctx, engine.Session{ID: "session_a", ExpiresAt: noon}, rec()),
		store.AddPolicy(ctx, engine.CertificatePolicy{ProjectID: "prj", Version: 12}, rec()),
		store.CreateNotificationTarget(ctx, target, 50, rec()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	opened, approval, request := rec(), engine.Approval{ID: "apr_a", ProjectID: "prj", RequestID: request.ID}, request
	request.ApprovalID = approval.ID
	_, err := store.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Approval: &approval, Record: &opened})
	settle := rec()
	settle.Event = &engine.Event{ID: "event_a", ProjectID: "prj", Time: noon}
	_, _, errSettle := store.Settle(ctx, end, settle)
	_, errKey := store.DataKey(ctx, "codec", *sealedKey)
	if err := errors.Join(err, errSettle, errKey); err != nil {
		t.Fatal(err)
	}
	linked(t, store)
	return store, db
}

// said is what a store says of the project, of the system, and of the project's chain.
func said(t *testing.T, s *mongo.Store) (text string) {
	t.Helper()
	for _, id := range []string{"prj", engine.SystemChain} {
		found, err := s.Misplaced(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			text += fmt.Sprintf("%s %s: %s\n", d.Document, d.ID, d.Problem)
		}
	}
	verdict, err := engine.VerifyAudit(t.Context(), s, []byte("audit key"), "prj", engine.AuditHead{})
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.OK {
		text += "audit_logs " + verdict.Problem
	}
	return text
}

// stored are all documents of the database, by collection.
func stored(t *testing.T, db *driver.Database) map[string][]bson.D {
	t.Helper()
	all := map[string][]bson.D{}
	for _, name := range collections(t, db) {
		if name == "schema" || name == "audit_waiting" || name == "audit_forwarded" {
			continue
		}
		cursor, err := db.Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var docs []bson.D
		if err := cursor.All(t.Context(), &docs); err != nil || len(docs) == 0 {
			t.Fatalf("%s has %d documents: %v", name, len(docs), err)
		}
		all[name] = docs
	}
	return all
}

// exchange replaces a document by another one.
func exchange(t *testing.T, c *driver.Collection, before, after bson.D) {
	t.Helper()
	result, err := c.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: before[0].Value}})
	if err != nil || result.DeletedCount != 1 {
		t.Fatal(result, err)
	}
	if _, err := c.InsertOne(t.Context(), after); err != nil {
		t.Fatal(err)
	}
}

// beside are the members of a stored document that are not the engine's.
func beside(t *testing.T, collection string, doc bson.D) (names []string) {
	t.Helper()
	if id, _ := doc[0].Value.(string); strings.HasSuffix(id, "/end") {
		collection += "/end"
	}
	text, err := json.Marshal(types[collection])
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]any{}
	if err := json.Unmarshal(text, &own); err != nil || types[collection] == nil {
		t.Fatalf("%s: %v", collection, err)
	}
	for _, m := range doc {
		_, named := own[strings.TrimPrefix(m.Key, "_")] // the engine's id is the _id
		if !named {
			names = append(names, m.Key)
		}
	}
	return names
}

// Whoever changes a value under which a document is stored, and that is not a member of
// the document itself, is found.
func TestEveryValueBesideADocumentIsCompared(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		store, db := filled(t, s)
		if text := said(t, store); text != "" {
			t.Fatalf("an untouched store disagrees: %s", text)
		}
		names := map[string]bool{}
		for collection, docs := range stored(t, db) {
			for _, doc := range docs {
				for _, member := range beside(t, collection, doc) {
					name := collection + "." + member
					names[name] = true
					changed := bson.D{}
					for _, m := range doc {
						if text, ok := m.Value.(string); ok && m.Key == member {
							m.Value = text + "x"
						} else if m.Key == member {
							continue
						}
						changed = append(changed, m)
					}
					exchange(t, db.Collection(collection), doc, changed)
					text := said(t, store)
					found := strings.Contains(text, collection+" ")
					if _, listed := unnamed[name]; found == listed {
						t.Errorf("%s: found is %v; the store says %q", name, found, text)
					}
					exchange(t, db.Collection(collection), changed, doc)
				}
			}
		}
		for name := range unnamed {
			if !names[name] {
				t.Errorf("%s is listed, and is no member", name)
			}
		}
		if len(names) < 10 {
			t.Errorf("only %v were changed", names)
		}
	})
}

// A document of a project that does not exist is one of the system's.
func TestDocumentsOfNoProjectAreFound(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		store, db := filled(t, s)
		stray := bson.D{{Key: "_id", Value: "stray/user_a"}, {Key: "project_id", Value: "gone"}, {Key: "user_id", Value: "user_a"}}
		if _, err := db.Collection("members").InsertOne(t.Context(), stray); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]int{"prj": 0, "gone": 1, "stray": 1, engine.SystemChain: 1} {
			found, err := store.Misplaced(t.Context(), id)
			if err != nil || len(found) != want || want > 0 && found[0].ID != "stray/user_a" {
				t.Errorf("%s: %+v, %v", id, found, err)
			}
		}
	})
}

// A document that cannot be read is a disagreement and no error, in every collection.
func TestUnreadableDocumentsAreFound(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		store, db := filled(t, s)
		for collection, docs := range stored(t, db) {
			for _, doc := range docs {
				broken := bson.D{}
				for _, m := range doc {
					switch m.Key {
					case "actor", "requester", "certificate", "created_at", "wrapped_key", "expires_at", "updated_by", "format":
						m.Value = true
					}
					broken = append(broken, m)
				}
				exchange(t, db.Collection(collection), doc, broken)
				if text := said(t, store); !strings.Contains(text, collection+" ") {
					t.Errorf("%s %v: the store says %q", collection, doc[0].Value, text)
				}
				exchange(t, db.Collection(collection), broken, doc)
			}
		}
	})
}

// Who looks for a document gets none that says it is another one.
func TestMovedDocumentsAreRefused(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		store, db := filled(t, s)
		ctx := t.Context()
		for _, m := range []struct{ collection, from, to string }{
			{"members", "prj/user_a", "prj/mine"}, {"download_tokens", "d0", "mine"}, {"certificate_policies", "prj/12", "prj/99"},
		} {
			var doc bson.D
			if err := db.Collection(m.collection).FindOne(ctx, bson.D{{Key: "_id", Value: m.from}}).Decode(&doc); err != nil {
				t.Fatal(err)
			}
			moved := append(bson.D{{Key: "_id", Value: m.to}}, doc[1:]...)
			exchange(t, db.Collection(m.collection), doc, moved)
		}
		_, err := store.Member(ctx, "prj", "mine")
		_, errToken := store.Token(ctx, "mine")
		for _, err := range []error{err, errToken} {
			if !errors.Is(err, engine.CodeNotFound) {
				t.Errorf("it is found: %v", err)
			}
		}
		if p, err := store.CertificatePolicy(ctx, "prj"); err == nil {
			t.Errorf("a policy under another id decides: %+v", p)
		}
	})
}

// A settlement under the id of another token's settlement ends no third token.
func TestForeignSettlementEndsNoOtherToken(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		store, db := filled(t, s)
		ctx, second, rec := t.Context(), token, engine.Record{Audit: entry("prj")}
		second.Digest, second.RequestID, second.IssuedAt = "d1", "req_b", noon.Add(1)
		next := request
		next.ID, next.TokenDigest, rec.Audit.RequestID = "req_b", second.Digest, "req_b"
		if _, err := store.OpenRequest(ctx, engine.Transition{Request: next, Token: &second, Record: &rec}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Collection("download_tokens").UpdateByID(ctx, "d0/end", bson.D{{Key: "$set", Value: bson.D{{Key: "token_digest", Value: "foreign"}}}}); err != nil {
			t.Fatal(err)
		}
		found, _, err := store.Tokens(ctx, "prj", engine.Page{Limit: 10})
		if err != nil || len(found) != 2 {
			t.Fatal(found, err)
		}
		for _, f := range found {
			if ended := f.Settlement != nil; ended != (f.Digest == "d0") {
				t.Errorf("the token %s has ended: %v", f.Digest, ended)
			}
		}
	})
}

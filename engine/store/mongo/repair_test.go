package mongo_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// repair is a call that a crash interrupted: the test deletes what the call had not
// written yet, and another process repeats the call.
type repair struct {
	name string
	// before stores what the call needs.
	before func(ctx context.Context, s *mongo.Store) error
	call   func(ctx context.Context, s *mongo.Store, rec engine.Record) error
	// missing are the documents, besides the audit entry, that the crash prevented;
	// broken, if set, stores a half-finished document.
	missing []missing
	broken  func(ctx context.Context, db *driver.Database, rec engine.Record) error
	// third is the error of a third call, when nothing is missing any more.
	third error
}

type missing struct{ collection, id string }

var (
	certificate = engine.Certificate{ID: "cert_a", ProjectID: "prj", Name: "www", SANs: []string{}, NotAfter: noon, HasPrivateKey: true, CreatedAt: noon}
	sealedKey   = &engine.SealedKey{KeeperID: "local", WrappedKey: []byte{1}, Ciphertext: []byte{2}}
	apiKey      = engine.APIKey{ID: "key_a", ProjectID: "prj", OwnerID: "user_a", Role: engine.RoleViewer, SecretDigest: "d", CreatedAt: noon}
	member      = engine.Member{ProjectID: "prj", UserID: "user_a", Role: engine.RoleAdmin, CreatedAt: noon}
	token       = engine.Token{Digest: "d0", RequestID: "req_a", ProjectID: "prj", SealedPassphrase: []byte{3}, IssuedAt: noon, ExpiresAt: noon.Add(time.Minute)}
	request     = engine.Request{ID: "req_a", Version: 1, ProjectID: "prj", Status: engine.StatusIssued, TokenDigest: "d0", CreatedAt: noon, UpdatedAt: noon}
	target      = engine.NotificationTarget{ID: "target_a", ProjectID: "prj", Name: "chat", Events: []engine.NotificationEvent{engine.NotifyRequested}, CreatedAt: noon}
	end         = engine.Settlement{Digest: "d0", Kind: engine.Consumed, Attempt: "try_a", ProjectID: "prj", Time: noon}
)

var repairs = []repair{
	{name: "project", third: engine.CodeExists, missing: []missing{{"members", "prj/user_a"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.CreateProject(ctx, engine.Project{ID: "prj", Name: "Web", CreatedAt: noon}, member, rec)
		}},
	{name: "user", third: engine.CodeExists,
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.CreateUser(ctx, engine.User{ID: "user_a", Username: "a", CreatedAt: noon}, rec)
		}},
	{name: "api key", third: engine.CodeExists,
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.CreateAPIKey(ctx, apiKey, rec)
		}},
	{name: "api key revoked",
		before: func(ctx context.Context, s *mongo.Store) error {
			return s.CreateAPIKey(ctx, apiKey, engine.Record{Audit: entry("other")})
		},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.RevokeAPIKey(ctx, "prj", "key_a", noon, rec)
		}},
	{name: "member set",
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.SetMember(ctx, member, rec)
		}},
	{name: "member removed", third: engine.CodeNotFound,
		before: func(ctx context.Context, s *mongo.Store) error {
			return s.SetMember(ctx, member, engine.Record{Audit: entry("other")})
		},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			rec.Audit.Ref = engine.NewID("aud") // another caller completes the removal as well
			return s.RemoveMember(ctx, "prj", "user_a", noon, rec)
		}},
	{name: "notification target", third: engine.CodeExists, missing: []missing{{"notification_targets", "target_a"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.CreateNotificationTarget(ctx, target, 50, rec)
		}},
	{name: "notification target deleted", third: engine.CodeNotFound,
		before: func(ctx context.Context, s *mongo.Store) error {
			return s.CreateNotificationTarget(ctx, target, 50, engine.Record{Audit: entry("other")})
		},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.DeleteNotificationTarget(ctx, "prj", "target_a", rec)
		},
		broken: func(ctx context.Context, db *driver.Database, rec engine.Record) error {
			_, err := db.Collection("notification_targets").InsertOne(ctx, bson.D{
				{Key: "_id", Value: "target_a"}, {Key: "project_id", Value: "prj"}, {Key: "created_at", Value: noon}, {Key: "removed_by", Value: rec.Audit.Ref},
			})
			return err
		}},
	{name: "certificate", third: engine.CodeExists, missing: []missing{{"certificates", "cert_a"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			return s.CreateCertificate(ctx, certificate, sealedKey, rec)
		}},
	{name: "certificate's event", third: engine.CodeExists, missing: []missing{{"certificate_events", "event_a"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			rec.Event = &engine.Event{ID: "event_a", ProjectID: "prj", CertificateID: "cert_a", Time: noon}
			return s.CreateCertificate(ctx, certificate, sealedKey, rec)
		}},
	{name: "policy", third: engine.CodeConflict,
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			p := engine.DefaultPolicy("prj")
			p.Version = 1
			return s.AddPolicy(ctx, p, rec)
		}},
	{name: "request's token", missing: []missing{{"download_tokens", "d0"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			_, err := s.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Record: &rec})
			return err
		}},
	{name: "settlement", missing: []missing{{"certificate_events", "event_a"}},
		call: func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
			rec.Event = &engine.Event{ID: "event_a", ProjectID: "prj", CertificateID: "cert_a", Time: noon}
			winner, won, err := s.Settle(ctx, end, rec)
			if err == nil && (!won || winner != end) {
				return errors.New("the settlement lost against itself")
			}
			return err
		}},
}

// The same call again completes what a crash left missing, and nothing is written
// twice.
func TestRepeatedCallCompletes(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		for _, r := range repairs {
			t.Run(r.name, func(t *testing.T) { r.run(t, uri, db) })
		}
	})
}

func (r repair) run(t *testing.T, uri string, db *driver.Database) {
	ctx, rec := t.Context(), engine.Record{Audit: entry("prj")}
	for _, name := range collections(t, db) {
		if _, err := db.Collection(name).DeleteMany(ctx, bson.D{}); err != nil {
			t.Fatal(err)
		}
	}
	first := open(t, uri)
	if r.before != nil {
		if err := r.before(ctx, first); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.call(ctx, first, rec); err != nil {
		t.Fatal(err)
	}
	linked(t, first)
	ended(t, first)
	whole := snapshot(t, db)
	for _, gone := range append(r.missing, missing{"audit_logs", "prj/0000000000000000001"}) {
		if result, err := db.Collection(gone.collection).DeleteOne(ctx, bson.D{{Key: "_id", Value: gone.id}}); err != nil || result.DeletedCount != 1 {
			t.Fatalf("delete %v: %v, %v", gone, result, err)
		}
	}
	if r.broken != nil {
		if err := r.broken(ctx, db, rec); err != nil {
			t.Fatal(err)
		}
	}
	next := open(t, uri)
	if err := r.call(ctx, next, rec); err != nil {
		t.Fatalf("the call again: %v", err)
	}
	linked(t, next)
	if again := snapshot(t, db); again != whole {
		t.Fatalf("repaired\n%s\nwant\n%s", again, whole)
	}
	if err := r.call(ctx, next, rec); !errors.Is(err, r.third) {
		t.Fatalf("the third call: %v, want %v", err, r.third)
	}
	linked(t, next)
	if again := snapshot(t, db); again != whole {
		t.Fatalf("after the third call\n%s\nwant\n%s", again, whole)
	}
}

// Who becomes a member again completes a removal that was interrupted before its
// audit entry was written.
func TestNewMembershipCompletesTheRemoval(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, removed, added := t.Context(), engine.Record{Audit: entry("prj")}, engine.Record{Audit: entry("prj")}
		first := open(t, uri)
		if err := errors.Join(first.SetMember(ctx, member, engine.Record{Audit: entry("other")}), first.RemoveMember(ctx, "prj", "user_a", noon, removed)); err != nil {
			t.Fatal(err)
		}
		linked(t, first)
		ended(t, first)
		if result, err := db.Collection("audit_logs").DeleteOne(ctx, bson.D{{Key: "ref", Value: removed.Audit.Ref}}); err != nil || result.DeletedCount != 1 {
			t.Fatal(result, err)
		}
		next := open(t, uri)
		if err := next.SetMember(ctx, member, added); err != nil {
			t.Fatal(err)
		}
		entries, err := next.AuditAfter(ctx, "prj", 0, 10)
		if err != nil || len(entries) != 2 || entries[0].Ref != removed.Audit.Ref || entries[1].Ref != added.Audit.Ref {
			t.Fatalf("%+v, %v", entries, err)
		}
	})
}

// linked has the entries of the tests' chains linked.
func linked(t *testing.T, s *mongo.Store) {
	t.Helper()
	for _, chain := range []string{"prj", "other"} {
		if _, err := s.AuditAfter(t.Context(), chain, 0, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// ended closes the store of a process that has crashed, which links no entry any more.
func ended(t *testing.T, s *mongo.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// snapshot is the canonical text of every document in the database.
func snapshot(t *testing.T, db *driver.Database) string {
	t.Helper()
	text := ""
	for _, name := range collections(t, db) {
		cursor, err := db.Collection(name).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var docs []bson.M
		if err := cursor.All(t.Context(), &docs); err != nil {
			t.Fatal(err)
		}
		text += name + canonical(t, docs) + "\n"
	}
	return text
}

// Whoever finds a request whose token and record are not stored yet, after a crash or
// because another process is still writing them, adds what the request promises: a
// second decision, which does not add its own token, and a caller who waits for the
// first one.
func TestWhoeverFindsARequestCompletesIt(t *testing.T) {
	for name, find := range map[string]func(ctx context.Context, s *mongo.Store, first engine.Record) (engine.Request, error){
		"second decision": func(ctx context.Context, s *mongo.Store, first engine.Record) (engine.Request, error) {
			denied, later := request, engine.Record{Audit: entry("prj")}
			denied.Status, denied.TokenDigest = engine.StatusDenied, ""
			later.Audit.Ref, later.Audit.Outcome = first.Audit.Ref, engine.AuditRefused
			return s.OpenRequest(ctx, engine.Transition{Request: denied, Record: &later})
		},
		"caller who waits": func(ctx context.Context, s *mongo.Store, _ engine.Record) (engine.Request, error) {
			return s.CompleteRequest(ctx, "prj", request.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEveryServer(t, func(t *testing.T, s server) {
				uri, db := s.database(t)
				ctx, first := t.Context(), engine.Record{Audit: entry("prj")}
				opened := open(t, uri)
				if _, err := opened.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Record: &first}); err != nil {
					t.Fatal(err)
				}
				linked(t, opened)
				ended(t, opened)
				whole := snapshot(t, db)
				for _, name := range []string{"download_tokens", "audit_logs"} {
					if _, err := db.Collection(name).DeleteMany(ctx, bson.D{}); err != nil {
						t.Fatal(err)
					}
				}
				next := open(t, uri)
				stored, err := find(ctx, next, first)
				linked(t, next)
				if err != nil || stored.Status != engine.StatusIssued {
					t.Fatalf("the request is %s, %v", stored.Status, err)
				}
				if again := snapshot(t, db); again != whole {
					t.Fatalf("repaired\n%s\nwant\n%s", again, whole)
				}
			})
		})
	}
}

// The workflow that takes the place of a lost one completes what a crash left missing of
// the request's latest transition. It restores no token that retention has deleted.
func TestResumingCompletesARequest(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, rec := t.Context(), engine.Record{Audit: entry("prj")}
		approval := engine.Approval{ID: "apr_a", Version: 1, RequestID: "req_a", ProjectID: "prj", Status: engine.ApprovalApproved, CreatedAt: noon}
		issued := request
		issued.ApprovalID, issued.ExpiresAt = approval.ID, token.ExpiresAt
		opened := open(t, uri)
		if _, err := opened.OpenRequest(ctx, engine.Transition{Request: issued, Token: &token, Approval: &approval, Record: &rec}); err != nil {
			t.Fatal(err)
		}
		linked(t, opened)
		ended(t, opened)
		whole := snapshot(t, db)
		resume := func(now time.Time) {
			next := open(t, uri)
			transitions := &engine.Transitions{Store: next, Clock: func() time.Time { return now }}
			result, err := transitions.Resume(ctx, engine.ResumeCommand{ProjectID: "prj", RequestID: "req_a"})
			linked(t, next)
			ended(t, next)
			if err != nil || result.Request.Version != 1 || result.Request.Status != engine.StatusIssued {
				t.Fatalf("%+v, %v", result, err)
			}
		}
		for _, now := range []time.Time{noon, token.ExpiresAt.Add(engine.MinTokenAge - 1)} {
			for _, name := range []string{"download_tokens", "approval_requests", "audit_logs"} {
				if _, err := db.Collection(name).DeleteMany(ctx, bson.D{}); err != nil {
					t.Fatal(err)
				}
			}
			resume(now)
			if again := snapshot(t, db); again != whole {
				t.Fatalf("completed\n%s\nwant\n%s", again, whole)
			}
		}
		if _, err := db.Collection("download_tokens").DeleteMany(ctx, bson.D{}); err != nil {
			t.Fatal(err)
		}
		resume(token.ExpiresAt.Add(engine.MinTokenAge))
		if n, err := db.Collection("download_tokens").CountDocuments(ctx, bson.D{}); n != 0 || err != nil {
			t.Fatalf("%d tokens, %v", n, err)
		}
	})
}

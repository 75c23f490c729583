package mongo_test

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/countersign-dev/countersign/engine"
)

// Before documents are carried to another store, what a crash left missing of requests
// and of removals is completed, a removal of a target that is not on record is undone,
// and a key without its certificate is left behind.
func TestCompleteDocuments(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, opening, removing := t.Context(), engine.Record{Audit: entry("prj")}, engine.Record{Audit: entry("prj")}
		opening.Event = &engine.Event{ID: "event_a", ProjectID: "prj", CertificateID: "cert_a", RequestID: request.ID, Type: engine.ActionTokenIssued, Time: noon}
		first := open(t, uri)
		_, err := first.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Record: &opening})
		if err := errors.Join(err,
			first.SetMember(ctx, member, engine.Record{Audit: entry("other")}),
			first.RemoveMember(ctx, "prj", "user_a", noon, removing),
			first.CreateNotificationTarget(ctx, target, 5, engine.Record{Audit: entry("other")})); err != nil {
			t.Fatal(err)
		}
		linked(t, first)
		ended(t, first)
		whole := snapshot(t, db)
		complete := func() {
			t.Helper()
			next := open(t, uri)
			if err := next.CompleteDocuments(ctx); err != nil {
				t.Fatal(err)
			}
			ended(t, next)
			if again := snapshot(t, db); again != whole {
				t.Fatalf("completed\n%s\nwant\n%s", again, whole)
			}
		}
		complete() // nothing is missing
		if _, err := db.Collection("certificate_events").DeleteMany(ctx, bson.D{}); err != nil {
			t.Fatal(err)
		}
		complete()
		for collection, gone := range map[string]bson.D{
			"certificate_events": {}, "download_tokens": {}, "audit_logs": {{Key: "project_id", Value: "prj"}},
		} {
			if _, err := db.Collection(collection).DeleteMany(ctx, gone); err != nil {
				t.Fatal(err)
			}
		}
		mark := bson.D{{Key: "$set", Value: bson.D{{Key: "removed_by", Value: "ref_unknown"}}}}
		if _, err := db.Collection("notification_targets").UpdateOne(ctx, bson.D{{Key: "_id", Value: target.ID}}, mark); err != nil {
			t.Fatal(err)
		}
		complete()

		if _, err := db.Collection("certificate_keys").InsertOne(ctx, bson.D{{Key: "_id", Value: "cert_never"}}); err != nil {
			t.Fatal(err)
		}
		if err := open(t, uri).ExportDocuments(ctx, "certificate_keys", func(d engine.StoredDocument) error {
			return errors.New("the key of " + d.ID + " is carried")
		}); err != nil {
			t.Error(err)
		}
	})
}

package mongo_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/bsonrw"

	"github.com/countersign-dev/countersign/engine"
)

// Whoever can only write to the database gets no document written and no entry signed, by
// putting them where a server looks for what a crash left missing.
func TestNothingForeignCompletesADocument(t *testing.T) {
	forged := engine.AuditEntry{
		Ref: "forged", ProjectID: "prj", Time: noon, Action: engine.ActionMemberUpdated, Outcome: engine.AuditSuccess,
		Documents: []engine.DocumentDigest{{Document: "members", ID: "user_mallory", Digest: "d"}},
	}
	ofRequest, elsewhere := forged, forged
	ofRequest.RequestID, elsewhere.RequestID, elsewhere.ProjectID, elsewhere.Documents = request.ID, request.ID, engine.SystemChain, nil
	for what, c := range map[string]struct {
		collection, id, member string
		value                  any
	}{
		"an entry of no request":       {"download_requests", request.ID, "follow.audit", forged},
		"a digest of another document": {"download_requests", request.ID, "follow.audit", ofRequest},
		"an entry of another chain":    {"download_requests", request.ID, "follow.audit", elsewhere},
		"a token of another digest":    {"download_requests", request.ID, "follow.token", engine.Token{Digest: "mine", RequestID: request.ID, ProjectID: "prj"}},
		"a token of another project":   {"download_requests", request.ID, "follow.token", engine.Token{Digest: token.Digest, RequestID: request.ID, ProjectID: "other"}},
		"an approval of another":       {"download_requests", request.ID, "follow.approval", engine.Approval{ID: "apr_b", RequestID: request.ID, ProjectID: "prj"}},
		"an event of another":          {"download_requests", request.ID, "follow.event", engine.Event{ID: "event_a", RequestID: "req_b", ProjectID: "prj"}},
		"a removal of somebody else":   {"members", "prj/user_a", "removed_by", forged},
		"a removal in another's chain": {"members", "prj/user_a", "removed_by", elsewhere},
	} {
		t.Run(what, func(t *testing.T) {
			onEveryServer(t, func(t *testing.T, s server) {
				uri, db := s.database(t)
				ctx, store, rec := t.Context(), open(t, uri), engine.Record{Audit: entry("prj")}
				if err := storedMember(ctx, store); err != nil {
					t.Fatal(err)
				}
				if _, err := store.OpenRequest(ctx, engine.Transition{Request: request, Token: &token, Record: &rec}); err != nil {
					t.Fatal(err)
				}
				linked(t, store)
				ended(t, store)
				if _, err := db.Collection("audit_logs").DeleteMany(ctx, bson.D{{Key: "ref", Value: rec.Audit.Ref}, {Key: "request_id", Value: strings.TrimPrefix(c.id, "prj/")}}); err != nil {
					t.Fatal(err)
				}
				change := bson.D{{Key: "$set", Value: bson.D{{Key: c.member, Value: asStored(t, c.value)}}}}
				if n, err := db.Collection(c.collection).UpdateByID(ctx, c.id, change); err != nil || n.ModifiedCount != 1 {
					t.Fatalf("%+v, %v", n, err)
				}
				before := snapshot(t, db)

				next := open(t, uri)
				calls := map[string]func() error{"before a restore or a migration": func() error { return next.CompleteDocuments(ctx) }}
				if c.collection == "download_requests" {
					calls["by a caller"] = func() error { _, err := next.CompleteRequest(ctx, "prj", request.ID); return err }
					calls["by a workflow"] = func() error { return next.AdvanceRequest(ctx, engine.Transition{Request: request}) }
				} else {
					calls["by a caller"] = func() error {
						return next.RemoveMember(ctx, "prj", "user_a", noon, engine.Record{Audit: entry("prj")})
					}
				}
				for _, name := range slices.Sorted(maps.Keys(calls)) {
					if err := calls[name](); err == nil || !strings.Contains(err.Error(), "somebody changed it in the database") {
						t.Errorf("%s: %v", name, err)
					}
				}
				linked(t, next)
				ended(t, next)
				if after := snapshot(t, db); after != before {
					t.Errorf("there was\n%s\nand is\n%s", before, after)
				}
			})
		})
	}
}

// asStored is a document as the store writes it.
func asStored(t *testing.T, document any) bson.Raw {
	t.Helper()
	var out bytes.Buffer
	writer, err := bsonrw.NewBSONValueWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := bson.NewEncoder(writer)
	if err != nil {
		t.Fatal(err)
	}
	encoder.UseJSONStructTags()
	if err := encoder.Encode(document); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

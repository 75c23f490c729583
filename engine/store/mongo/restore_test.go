package mongo_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
)

// A backup of a server without transactions has the changes of its last moment in part. When
// it is accepted they are completed and ended, although their workflows are lost: otherwise
// a token would come back that may have been used since the backup.
func TestAnAcceptedRestoreCompletesWhatTheBackupHasInPart(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, now := t.Context(), engine.NormalizeTime(time.Now())
		store := open(t, uri)
		opens := func(r engine.Request, token *engine.Token, approval *engine.Approval) {
			t.Helper()
			rec := engine.Record{Audit: entry("prj")}
			rec.Audit.RequestID = r.ID
			if _, err := store.OpenRequest(ctx, engine.Transition{Request: r, Token: token, Approval: approval, Record: &rec}); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.CreateProject(ctx, engine.Project{ID: "prj", Name: "Web", CreatedAt: noon}, member, engine.Record{Audit: entry("prj")}); err != nil {
			t.Fatal(err)
		}
		issued, live := request, token
		live.IssuedAt, live.ExpiresAt, issued.ExpiresAt = now, now.Add(time.Hour), now.Add(time.Hour)
		opens(issued, &live, nil)
		asked := engine.Request{
			ID: "req_b", Version: 1, ProjectID: "prj", Status: engine.StatusPendingApproval, ApprovalID: "apr_b",
			ApprovalExpiresAt: now.Add(time.Hour), CreatedAt: now, UpdatedAt: now,
		}
		opens(asked, nil, &engine.Approval{ID: "apr_b", Version: 1, RequestID: "req_b", ProjectID: "prj", Status: engine.ApprovalPending, CreatedAt: now})
		linked(t, store)
		for _, name := range []string{"download_tokens", "approval_requests"} {
			if _, err := db.Collection(name).DeleteMany(ctx, bson.D{}); err != nil {
				t.Fatal(err)
			}
		}
		for _, id := range []string{issued.ID, asked.ID} { // what comes last is missing as well
			if _, err := db.Collection("audit_logs").DeleteMany(ctx, bson.D{{Key: "request_id", Value: id}}); err != nil {
				t.Fatal(err)
			}
		}

		store = open(t, uri)
		target, err := anchor.Open(ctx, filepath.Join(t.TempDir(), "anchor.json"), "")
		if err != nil {
			t.Fatal(err)
		}
		anchors := &engine.Anchors{
			Store: store, Target: target, Key: []byte("audit key"), Every: time.Hour,
			Clock: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		}
		done, err := anchors.AcceptBackup(ctx, engine.Backup{})
		if err != nil || done.TokensRevoked != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		begun, _, err := store.AuditEntries(ctx, engine.AuditQuery{ProjectID: engine.SystemChain, Action: engine.ActionRestoreBegun, Page: engine.Page{Limit: 1}})
		if err != nil || len(begun) != 1 || begun[0].Detail["tokens_revoked"] != "1" {
			t.Errorf("the audit log says %+v, %v", begun, err)
		}
		record, err := store.Token(ctx, live.Digest)
		if err != nil || record.Settlement == nil || record.Settlement.Kind != engine.Revoked {
			t.Errorf("the token: %+v, %v", record, err)
		}
		for id, want := range map[string]engine.Status{issued.ID: engine.StatusRevoked, asked.ID: engine.StatusCancelled} {
			if r, err := store.Request(ctx, "prj", id); err != nil || r.Status != want {
				t.Errorf("%s is %s, %v", id, r.Status, err)
			}
		}
		if a, err := store.Approval(ctx, "prj", "apr_b"); err != nil || a.Status != engine.ApprovalCancelled {
			t.Errorf("the approval: %+v, %v", a, err)
		}
		if err := anchors.Check(ctx, false); err != nil {
			t.Error(err)
		}
	})
}

package mongo_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 678_000_000, time.UTC)

func entry(projectID string) engine.AuditEntry {
	return engine.AuditEntry{
		Ref: engine.NewID("ref"), ProjectID: projectID, Time: noon, Action: engine.ActionCertificateDownloaded, Outcome: engine.AuditSuccess,
		Detail: map[string]string{"a": "1", "b": "2"}, RequestID: "req_a",
	}
}

func newEnd(digest, projectID string) (engine.Settlement, engine.Record) {
	end := engine.Settlement{Digest: digest, Kind: engine.Consumed, Attempt: engine.NewID("try"), ProjectID: projectID, Time: noon}
	rec := engine.Record{Audit: entry(projectID), Event: &engine.Event{ID: engine.NewID("event"), ProjectID: projectID, CertificateID: "cert_a", Time: noon}}
	return end, rec
}

// together runs n calls at once, spread over the stores.
func together(stores []*mongo.Store, n int, call func(s *mongo.Store, i int)) {
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			call(stores[i%len(stores)], i)
		})
	}
	close(start)
	running.Wait()
}

// wholeChain verifies a chain from its first entry and returns its entries.
func wholeChain(t *testing.T, s *mongo.Store, chain string) []engine.AuditEntry {
	t.Helper()
	if err := s.UseAuditKey(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	verdict, err := engine.VerifyAudit(t.Context(), s, nil, chain, engine.AuditHead{})
	if err != nil || !verdict.OK {
		t.Fatalf("the chain is broken: %+v, %v", verdict, err)
	}
	entries, err := s.AuditAfter(t.Context(), chain, 0, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// Two processes append to one chain without a pause: the chain is not forked, and
// every entry is stored exactly once.
func TestTwoAppendersShareOneChain(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		stores := []*mongo.Store{open(t, uri), open(t, uri)}
		const callers, each = 8, 15
		errs := make([]error, callers)
		together(stores, callers, func(s *mongo.Store, i int) {
			for n := range each {
				e := entry("prj")
				e.Detail["caller"] = fmt.Sprint(i, n)
				if err := s.Append(t.Context(), e); err != nil {
					errs[i] = err
					return
				}
			}
		})
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		entries, seen := wholeChain(t, open(t, uri), "prj"), map[string]bool{}
		for _, e := range entries {
			seen[e.Detail["caller"]] = true
		}
		if len(entries) != callers*each || len(seen) != callers*each {
			t.Fatalf("%d entries of %d calls are in the audit log, want %d", len(entries), len(seen), callers*each)
		}
	})
}

// Two processes append the same entry at once: it is stored once.
func TestTwoAppendersWriteOneEntry(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		stores := []*mongo.Store{open(t, uri), open(t, uri)}
		one, errs := entry("prj"), make([]error, 16)
		together(stores, len(errs), func(s *mongo.Store, i int) { errs[i] = s.Append(t.Context(), one) })
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		if entries := wholeChain(t, stores[0], "prj"); len(entries) != 1 {
			t.Fatalf("%d entries are in the audit log, want 1", len(entries))
		}
	})
}

// Callers of two processes settle one token at once: one wins, all get the same
// winner, and only its record is written.
func TestTwoStoresSettleOneToken(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		stores := []*mongo.Store{open(t, uri), open(t, uri)}
		rounds := 3
		if os.Getenv("COUNTERSIGN_SOAK") == "1" {
			rounds = 100
		}
		for round := range rounds {
			settleTogether(t, stores, fmt.Sprintf("digest%d", round), 64)
		}
	})
}

func settleTogether(t *testing.T, stores []*mongo.Store, digest string, callers int) {
	t.Helper()
	project := engine.NewID("prj")
	winners, wins := make([]string, callers), make([]string, callers)
	together(stores, callers, func(s *mongo.Store, i int) {
		end, rec := newEnd(digest, project)
		winner, won, err := s.Settle(t.Context(), end, rec)
		if err != nil {
			t.Error(err)
		}
		winners[i] = winner.Attempt
		if won {
			wins[i] = end.Attempt
		}
	})
	wins = slices.DeleteFunc(wins, func(attempt string) bool { return attempt == "" })
	if len(wins) != 1 || len(slices.Compact(winners)) != 1 || winners[0] != wins[0] {
		t.Fatalf("%d callers won %v, and the winners returned are %v", len(wins), wins, slices.Compact(winners))
	}
	if entries := wholeChain(t, stores[0], project); len(entries) != 1 {
		t.Fatalf("%d entries are in the audit log, want the winner's", len(entries))
	}
	events, _, err := stores[1].Events(t.Context(), engine.EventQuery{ProjectID: project, CertificateID: "cert_a", Page: engine.Page{Limit: 10}})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events are on the timeline, %v; want the winner's", len(events), err)
	}
}

// Entries that a process made durable and did not link, because it ended, are linked
// by the next process, once, also if one was linked already and still waits.
func TestEntriesOfAnEndedProcessAreLinked(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, first, waiting := t.Context(), open(t, uri), db.Collection("audit_waiting")
		var entries []engine.AuditEntry
		var docs []any
		for range 2 {
			e := entry("prj")
			if err := first.Append(ctx, e); err != nil {
				t.Fatal(err)
			}
			var doc bson.D
			if err := waiting.FindOne(ctx, bson.D{{Key: "_id", Value: e.Ref}}).Decode(&doc); err != nil {
				t.Fatal(err)
			}
			entries, docs = append(entries, e), append(docs, doc)
		}
		wholeChain(t, first, "prj")
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if result, err := db.Collection("audit_logs").DeleteOne(ctx, bson.D{{Key: "ref", Value: entries[1].Ref}}); err != nil || result.DeletedCount != 1 {
			t.Fatal(result, err)
		}
		if _, err := waiting.InsertMany(ctx, docs); err != nil {
			t.Fatal(err)
		}
		next := open(t, uri)
		if err := next.UseAuditKey(ctx, nil); err != nil {
			t.Fatal(err)
		}
		awaitNone(t, waiting)
		if found := wholeChain(t, next, "prj"); len(found) != 2 || found[0].Ref != entries[0].Ref || found[1].Ref != entries[1].Ref {
			t.Fatalf("%+v", found)
		}
	})
}

// awaitNone waits until a collection is empty.
func awaitNone(t *testing.T, c *driver.Collection) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		n, err := c.CountDocuments(t.Context(), bson.D{})
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d documents are in %s: %v", n, c.Name(), err)
		}
		if n == 0 {
			return
		}
	}
}

// An entry that somebody without the audit key adds to those that wait does not get
// a valid hash.
func TestForgedWaitingEntryIsFound(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, store, key := t.Context(), open(t, uri), []byte("audit key")
		if err := store.UseAuditKey(ctx, key); err != nil {
			t.Fatal(err)
		}
		if err := store.Append(ctx, entry("prj")); err != nil {
			t.Fatal(err)
		}
		if _, err := store.AuditAfter(ctx, "prj", 0, 1); err != nil {
			t.Fatal(err)
		}
		forged := bson.D{{Key: "_id", Value: "forged"}, {Key: "order", Value: int64(1)}, {Key: "mac", Value: "00"}, {Key: "entry", Value: bson.D{
			{Key: "ref", Value: "forged"}, {Key: "project_id", Value: "prj"}, {Key: "action", Value: engine.ActionApprovalApproved},
		}}}
		if _, err := db.Collection("audit_waiting").InsertOne(ctx, forged); err != nil {
			t.Fatal(err)
		}
		if err := store.Append(ctx, entry("prj")); err != nil {
			t.Fatal(err)
		}
		verdict, err := engine.VerifyAudit(ctx, store, key, "prj", engine.AuditHead{})
		if err != nil || verdict.OK || verdict.BrokenAt != 2 {
			t.Fatalf("%+v, %v", verdict, err)
		}
	})
}

// TestEntriesThatWaitAreCounted leaves an entry unlinked, as a process that ends does.
func TestEntriesThatWaitAreCounted(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, db := s.database(t)
		ctx, store := t.Context(), open(t, uri)
		since := time.Now().UTC().Add(-time.Minute)
		left := bson.D{{Key: "_id", Value: "left"}, {Key: "order", Value: since.UnixNano()}, {Key: "mac", Value: ""}, {Key: "entry", Value: bson.D{
			{Key: "ref", Value: "left"}, {Key: "project_id", Value: "prj"},
		}}}
		if _, err := db.Collection("audit_waiting").InsertOne(ctx, left); err != nil {
			t.Fatal(err)
		}
		if n, oldest, err := store.AuditWaiting(ctx); err != nil || n != 1 || !oldest.Equal(since) {
			t.Fatalf("%d wait, since %v, %v; want 1 since %v", n, oldest, err, since)
		}
		if _, err := store.AuditAfter(ctx, "prj", 0, 1); err != nil {
			t.Fatal(err)
		}
		if n, _, err := store.AuditWaiting(ctx); err != nil || n != 1 {
			t.Fatalf("a reader without the audit key linked them: %d wait, %v", n, err)
		}
		if err := store.UseAuditKey(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := store.AuditAfter(ctx, "prj", 0, 1); err != nil {
			t.Fatal(err)
		}
		if n, oldest, err := store.AuditWaiting(ctx); err != nil || n != 0 || !oldest.IsZero() {
			t.Fatalf("after a reader had them linked: %d wait, since %v, %v", n, oldest, err)
		}
	})
}

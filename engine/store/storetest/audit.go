package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var auditContracts = []contract{
	{"append", auditAppend},
	{"append again", auditAppendAgain},
	{"append without ref", auditWithoutRef},
	{"append any text", auditAnyText},
	{"append race", auditAppendRace},
	{"append again race", auditAppendAgainRace},
	{"after", auditAfter},
	{"news", auditNews},
	{"listing", auditListing},
	{"listing of a foreign cursor", auditForeignCursor},
	{"purge", auditPurge},
	{"purge of removals", auditPurgeRemovals},
}

func auditAppend(t *testing.T, s engine.Store) {
	ctx, one, two := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	var ones, twos []engine.Record
	for i := range 6 {
		a, b := record(one), record(two)
		a.Audit.Time, b.Audit.Detail = noon.Add(time.Duration(-i)*time.Hour), nil // entries are in the order of their calls, not of their times
		ok(t, s.Append(ctx, a.Audit))
		ok(t, s.Append(ctx, b.Audit))
		ones, twos = append(ones, a), append(twos, b)
	}
	onRecord(t, s, one, ones...)
	onRecord(t, s, two, twos...)
	onRecord(t, s, engine.NewID("prj"))
}

func auditAppendAgain(t *testing.T, s engine.Store) {
	ctx, one, two := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	first, second := record(one), record(one)
	ok(t, s.Append(ctx, first.Audit))
	ok(t, s.Append(ctx, second.Audit))
	ok(t, s.Append(ctx, first.Audit))

	changed := first.Audit
	changed.Outcome = engine.AuditFailed
	ok(t, s.Append(ctx, changed))
	changed.ProjectID = two // unique within the store, not the chain
	ok(t, s.Append(ctx, changed))
	onRecord(t, s, one, first, second)
	onRecord(t, s, two)
}

func auditWithoutRef(t *testing.T, s engine.Store) {
	e := entry(engine.NewID("prj"))
	e.Ref = ""
	if err := s.Append(t.Context(), e); err == nil {
		t.Fatal("an entry without Ref was accepted: it could not be recognised when it is written again")
	}
	onRecord(t, s, e.ProjectID)
}

// Header fields may contain any bytes, and none may break a chain. A store may return
// bytes that are not UTF-8 as the replacement character.
func auditAnyText(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	for _, text := range []string{"\xff\xfe\xc3(", "a\x00b", "\ufffd", `\ufffd`, "<script>&\u2028", "\U0001F512", "'; --"} {
		e := entry(project)
		e.UserAgent, e.Actor.Name, e.Detail = text, text, map[string]string{"text": text}
		ok(t, s.Append(ctx, e))
	}
	if n := len(chain(t, s, project)); n != 7 {
		t.Fatalf("%d entries are in the audit log, want 7", n)
	}
}

func auditAppendRace(t *testing.T, s engine.Store) {
	chains, each := []string{engine.NewID("prj"), engine.NewID("prj")}, 32
	for _, err := range together(len(chains)*each, func(i int) error {
		e := entry(chains[i%2])
		e.Detail = map[string]string{"caller": fmt.Sprint(i)}
		return s.Append(t.Context(), e)
	}) {
		ok(t, err)
	}
	callers := map[string]bool{}
	for _, id := range chains {
		entries := chain(t, s, id)
		if len(entries) != each {
			t.Fatalf("%d entries are in the audit log, want %d", len(entries), each)
		}
		for _, e := range entries {
			callers[e.Detail["caller"]] = true
		}
	}
	if len(callers) != len(chains)*each {
		t.Fatalf("%d callers are in the audit log, want %d", len(callers), len(chains)*each)
	}
}

func auditAppendAgainRace(t *testing.T, s engine.Store) {
	rec := record(engine.NewID("prj"))
	for _, err := range together(16, func(int) error { return s.Append(t.Context(), rec.Audit) }) {
		ok(t, err)
	}
	onRecord(t, s, rec.Audit.ProjectID, rec)
}

func auditAfter(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	for range 12 {
		ok(t, s.Append(ctx, entry(project)))
	}
	all := chain(t, s, project)
	for _, c := range []struct{ seq, limit, from, to int }{{0, 5, 0, 5}, {5, 5, 5, 10}, {10, 5, 10, 12}, {12, 5, 12, 12}, {99, 5, 12, 12}} {
		same(t, get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, project, int64(c.seq), c.limit)), all[c.from:c.to])
	}
}

// auditFilters returns combinations of the listing's filters.
func auditFilters(projectID string) []engine.AuditQuery {
	var queries []engine.AuditQuery
	for _, action := range []string{"", engine.ActionCertificateDownloaded} {
		for _, actor := range []string{"", "user_alice", "key_robot", "user_bob"} {
			for _, certificate := range []string{"", "cert_b"} {
				for _, request := range []string{"", "req_b"} {
					queries = append(queries, engine.AuditQuery{
						ProjectID: projectID, Action: action, Actor: actor, CertificateID: certificate, RequestID: request,
					})
				}
			}
		}
	}
	return append(queries,
		engine.AuditQuery{ProjectID: projectID, From: noon.Add(3 * time.Second)},
		engine.AuditQuery{ProjectID: projectID, To: noon.Add(3 * time.Second)},
		engine.AuditQuery{ProjectID: projectID, From: noon.Add(3 * time.Second), To: noon.Add(9 * time.Second), Actor: "user_bob"},
		engine.AuditQuery{ProjectID: projectID, From: noon.Add(time.Hour)},
		engine.AuditQuery{ProjectID: projectID, Seq: 1},
		engine.AuditQuery{ProjectID: projectID, Seq: 24},
		engine.AuditQuery{ProjectID: projectID, Seq: 25},
		engine.AuditQuery{ProjectID: projectID, Seq: 7, Action: engine.ActionCertificateDownloaded, Actor: "user_alice"},
		engine.AuditQuery{ProjectID: projectID, Seq: 8, Actor: "user_bob", From: noon},
	)
}

func matches(e engine.AuditEntry, q engine.AuditQuery) bool {
	return (q.Seq == 0 || e.Seq == q.Seq) &&
		(q.Action == "" || e.Action == q.Action) &&
		(q.Actor == "" || e.Actor.ID == q.Actor || e.Actor.Person == q.Actor) &&
		(q.CertificateID == "" || e.CertificateID == q.CertificateID) &&
		(q.RequestID == "" || e.RequestID == q.RequestID) &&
		(q.From.IsZero() || !e.Time.Before(q.From)) && (q.To.IsZero() || e.Time.Before(q.To))
}

func auditListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	for i := range 24 {
		e := entry(project)
		e.Time = noon.Add(time.Duration(i*7%24/2) * time.Second) // clocks may jump, and callers overtake each other
		if i%2 == 0 {
			e.Action = engine.ActionCertificateDownloaded
		}
		switch i % 3 {
		case 0:
			e.Actor = alice
		case 1:
			e.Actor.Person = "user_alice"
		}
		if i%4 < 2 {
			e.CertificateID = "cert_b"
		}
		if i%5 < 2 {
			e.RequestID = "req_b"
		}
		ok(t, s.Append(ctx, e))
	}
	ok(t, s.Append(ctx, entry(engine.NewID("prj"))))
	newest := chain(t, s, project)
	slices.Reverse(newest)
	for _, q := range auditFilters(project) {
		var want []engine.AuditEntry
		for _, e := range newest {
			if matches(e, q) {
				want = append(want, e)
			}
		}
		list := auditLister(t, s, q)
		same(t, walk(t, list, 9), want)
		if q.Actor == "" && q.Action == "" && q.CertificateID == "" && q.RequestID == "" && q.From.IsZero() && q.Seq == 0 {
			lists(t, list, want)
		}
	}
}

func auditLister(t *testing.T, s engine.Store, q engine.AuditQuery) lister[engine.AuditEntry] {
	return func(page engine.Page) ([]engine.AuditEntry, string, error) {
		q.Page = page
		return s.AuditEntries(t.Context(), q)
	}
}

// The log is sorted by number, all other listings by time: their cursors are refused.
func auditForeignCursor(t *testing.T, s engine.Store) {
	project := engine.NewID("prj")
	ok(t, s.Append(t.Context(), entry(project)))
	foreign := engine.Cursor{Time: noon, ID: engine.NewID("cert")}.String()
	_, _, err := s.AuditEntries(t.Context(), engine.AuditQuery{ProjectID: project, Page: engine.Page{Limit: 1, Cursor: foreign}})
	if !errors.Is(err, engine.CodeInvalidRequest) {
		t.Fatalf("the cursor of another listing gave %v, want %s", err, engine.CodeInvalidRequest)
	}
}

// News are the entries after a number of each chain, each chain without a gap, and no
// other chain's.
func auditNews(t *testing.T, s engine.Store) {
	ctx, after := t.Context(), map[string]int64{}
	same(t, len(get[[]engine.AuditEntry](t)(s.AuditNews(ctx, after, 9))), 0)
	for i := range 4 {
		chain := engine.NewID("prj")
		for range 5 {
			ok(t, s.Append(ctx, record(chain).Audit))
		}
		get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, chain, 0, 1)) // every entry has its number then
		if i < 3 {
			after[chain] = int64(2 * i)
		}
	}
	left := map[string]int64{}
	for chain, seq := range after {
		left[chain] = 5 - seq
	}
	for found := 1; found > 0; {
		news := get[[]engine.AuditEntry](t)(s.AuditNews(ctx, after, 4))
		for _, e := range news {
			if at, followed := after[e.ProjectID]; !followed || e.Seq != at+1 || e.Hash == "" {
				t.Fatalf("after %d of %s came %+v", at, e.ProjectID, e)
			}
			after[e.ProjectID], left[e.ProjectID] = e.Seq, left[e.ProjectID]-1
		}
		found = len(news)
	}
	for chain, n := range left {
		if n != 0 {
			t.Errorf("%d entries of %s are missing", n, chain)
		}
	}
}

// The oldest entries of one chain are purged up to a number, in batches. The chain goes on
// with its numbers, and its entries are as they were.
func auditPurge(t *testing.T, s engine.Store) {
	ctx, project, other := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	for i := range 9 {
		e := record(project)
		e.Audit.Time = noon.Add(time.Duration(-i) * time.Minute)
		ok(t, s.Append(ctx, e.Audit))
		ok(t, s.Append(ctx, entry(other)))
	}
	all, others := chain(t, s, project), chain(t, s, other)
	for i, want := range []int{2, 1, 0} {
		same(t, get[int](t)(s.PurgeAudit(ctx, project, 3, 2)), want)
		same(t, get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, project, 0, 99)), all[min(2*i+2, 3):])
	}
	ok(t, s.Append(ctx, entry(project)))
	left := get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, project, 8, 99))
	same(t, len(left), 2)
	same(t, left[1].PrevHash, all[8].Hash)
	for _, q := range []engine.AuditQuery{{From: noon.Add(-6 * time.Minute)}, {To: noon.Add(-4 * time.Minute)}} {
		q.ProjectID = project
		want := 0
		for _, e := range append(all[3:], left[1]) {
			if (q.From.IsZero() || !e.Time.Before(q.From)) && (q.To.IsZero() || e.Time.Before(q.To)) {
				want++
			}
		}
		same(t, len(walk(t, auditLister(t, s, q), 3)), want)
	}
	same(t, chain(t, s, other), others)
}

// When the entry of a removal is purged, the removal stays: nothing is removed again, is
// recorded again or comes back.
func auditPurgeRemovals(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), storedProject(t, s)
	m, target := newMember(project.ID, "user_bob"), newTarget(project.ID)
	removal, deletion := record(project.ID), record(project.ID)
	removal.Audit.Documents = []engine.DocumentDigest{{Document: "members", ID: m.UserID}}
	deletion.Audit.Documents = []engine.DocumentDigest{{Document: "notification_targets", ID: target.ID}}
	ok(t, s.SetMember(ctx, m, record(project.ID)))
	ok(t, s.RemoveMember(ctx, project.ID, m.UserID, noon, removal))
	ok(t, s.CreateNotificationTarget(ctx, target, 5, record(project.ID)))
	ok(t, s.DeleteNotificationTarget(ctx, project.ID, target.ID, deletion))
	last := record(project.ID)
	ok(t, s.Append(ctx, last.Audit))
	entries := chain(t, s, project.ID)
	same(t, get[int](t)(s.PurgeAudit(ctx, project.ID, entries[len(entries)-2].Seq, 100)), len(entries)-1)
	if err := s.RemoveMember(ctx, project.ID, m.UserID, noon.Add(time.Hour), record(project.ID)); !errors.Is(err, engine.CodeNotFound) {
		t.Errorf("removing a former member again gives %v", err)
	}
	ok(t, s.CompleteDocuments(ctx))
	same(t, get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, project.ID, 0, 99)), entries[len(entries)-1:])
	if _, err := s.NotificationTarget(ctx, project.ID, target.ID); !errors.Is(err, engine.CodeNotFound) {
		t.Errorf("the target that was deleted gives %v", err)
	}
	again := record(project.ID)
	ok(t, s.SetMember(ctx, m, again))
	left := get[[]engine.AuditEntry](t)(s.AuditAfter(ctx, project.ID, 0, 99))
	if len(left) != 2 || left[1].Ref != again.Audit.Ref {
		t.Errorf("the log has %+v", left)
	}
	if back := get[engine.Member](t)(s.Member(ctx, project.ID, m.UserID)); !back.FormerUntil.Equal(noon) {
		t.Errorf("the member was there before until %s", back.FormerUntil)
	}
}

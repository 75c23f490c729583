package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

// disagreements are what a verifier finds in the project.
func (f *fixture) disagreements(ages engine.RetentionAges) []engine.Disagreement {
	f.t.Helper()
	v := f.verifier()
	v.Ages = ages
	verdict, err := v.Verify(f.t.Context(), f.project.ID, engine.AuditHead{})
	must(f.t, err)
	if verdict.BrokenAt != 0 || verdict.OK != (len(verdict.Disagreements) == 0) {
		f.t.Errorf("%+v", verdict)
	}
	return verdict.Disagreements
}

// rewrite stores a request otherwise than a use case would: without an entry.
func (f *fixture) rewrite(id string, change func(*engine.Request)) {
	f.t.Helper()
	f.unrecorded = true
	r, err := f.store.Request(f.t.Context(), f.project.ID, id)
	must(f.t, err)
	r.Version++
	change(&r)
	must(f.t, f.store.AdvanceRequest(f.t.Context(), engine.Transition{Request: r}))
}

func TestDocumentsThatRetentionDeletedAreNotMissed(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.skew.Store(int64(31 * 24 * time.Hour))
	if n, err := f.store.PurgeTokens(t.Context(), f.now().Add(-30*24*time.Hour), 10); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if found := f.disagreements(engine.RetentionAges{Tokens: 30 * 24 * time.Hour}); len(found) > 0 {
		t.Errorf("%+v", found)
	}
	found := f.disagreements(engine.RetentionAges{Tokens: 60 * 24 * time.Hour})
	if len(found) != 2 || found[0].Document != "download_tokens" || !strings.Contains(found[0].Problem, "missing") {
		t.Errorf("a token and its settlement that were deleted too early: %+v", found)
	}
}

func TestRequestsThatContradictTheLogAreFound(t *testing.T) {
	f := newFixture(t)
	used, unused := f.mint("operator", "shop", `{"format":"cert"}`), f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+used.Token.Reveal(), "").is(200)
	ages := engine.RetentionAges{Tokens: 720 * time.Hour}
	for _, c := range []struct {
		id     string
		status engine.Status
		want   string
	}{
		{used.RequestID, engine.StatusExpired, "its file was downloaded"},
		{unused.RequestID, engine.StatusConsumed, "no entry says that its file was downloaded"},
	} {
		f.rewrite(c.id, func(r *engine.Request) { r.Status = c.status })
		found := f.disagreements(ages)
		if len(found) != 1 || found[0].ID != c.id || !strings.Contains(found[0].Problem, c.want) {
			t.Errorf("%s: %+v", c.status, found)
		}
		f.rewrite(c.id, func(r *engine.Request) { r.Status = engine.StatusIssued })
		if found := f.disagreements(ages); len(found) > 0 {
			t.Errorf("%+v", found)
		}
	}
}

func TestVerificationAfterAHead(t *testing.T) {
	f := newFixture(t)
	v := f.verifier()
	after := func(head engine.AuditHead) engine.AuditVerification {
		t.Helper()
		verdict, err := v.VerifyAfter(t.Context(), f.project.ID, head)
		must(t, err)
		return verdict
	}
	before := f.mint("operator", "shop", `{"format":"cert"}`)
	head := after(engine.AuditHead{}).Head
	later := f.mint("operator", "shop", `{"format":"cert"}`)
	if got := after(head); !got.OK || got.Entries != 1 || got.Head.Seq != head.Seq+1 {
		t.Errorf("one entry later: %+v", got)
	}
	if got := after(engine.AuditHead{Seq: head.Seq, Hash: strings.Repeat("0", 64)}); got.OK || got.BrokenAt != head.Seq {
		t.Errorf("another entry: %+v", got)
	}
	if got := after(engine.AuditHead{Seq: head.Seq + 9, Hash: head.Hash}); got.OK {
		t.Errorf("behind the head: %+v", got)
	}
	f.rewrite(before.RequestID, func(r *engine.Request) { r.Reason = "another" })
	if got := after(head); !got.OK {
		t.Errorf("a document from before the head: %+v", got)
	}
	f.rewrite(later.RequestID, func(r *engine.Request) { r.Reason = "another" })
	if got := after(head); got.OK || len(got.Disagreements) != 1 || got.Disagreements[0].ID != later.RequestID {
		t.Errorf("a document that was written after the head: %+v", got)
	}
	if got := after(engine.AuditHead{}); len(got.Disagreements) != 2 {
		t.Errorf("from the beginning: %+v", got)
	}
}

// busyStore is a store that does something once, after the log was read and before the
// documents are.
type busyStore struct {
	engine.Store
	do func()
}

func (m *busyStore) Misplaced(ctx context.Context, projectID string) ([]engine.Disagreement, error) {
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return m.Store.Misplaced(ctx, projectID)
}

func TestManyNewDocumentsHideNoForgedOne(t *testing.T) {
	f := newFixture(t)
	forged := f.mint("operator", "shop", `{"format":"cert"}`)
	f.rewrite(forged.RequestID, func(r *engine.Request) { r.Reason = "another" })
	v := f.verifier()
	v.Store = &busyStore{f.store, func() {
		for range 120 {
			f.mint("operator", "shop", `{"format":"cert"}`)
		}
	}}
	verdict, err := v.Verify(t.Context(), f.project.ID, engine.AuditHead{})
	if err != nil || len(verdict.Disagreements) != 1 || verdict.Disagreements[0].ID != forged.RequestID {
		t.Errorf("%+v, %v", verdict, err)
	}
}

// beingWritten is a store in which a request has another reason for its first readers.
type beingWritten struct {
	engine.Store
	readings int
}

func (b *beingWritten) Requests(ctx context.Context, q engine.RequestQuery) ([]engine.Request, string, error) {
	found, next, err := b.Store.Requests(ctx, q)
	for i := range found {
		found[i].Reason = "another"
	}
	return found, next, err
}

func (b *beingWritten) Request(ctx context.Context, projectID, id string) (engine.Request, error) {
	r, err := b.Store.Request(ctx, projectID, id)
	if b.readings++; b.readings == 1 {
		r.Reason = "another"
	}
	return r, err
}

// A store may write a document a moment before its entry.
func TestDocumentsThatAreBeingWrittenDoNotDisagree(t *testing.T) {
	f := newFixture(t)
	f.mint("operator", "shop", `{"format":"cert"}`)
	for wait, want := range map[time.Duration]int{0: 1, time.Millisecond: 0} {
		v := f.verifier()
		v.Store, v.Wait = &beingWritten{Store: f.store}, wait
		verdict, err := v.Verify(t.Context(), f.project.ID, engine.AuditHead{})
		if err != nil || len(verdict.Disagreements) != want {
			t.Errorf("after %v: %+v, %v", wait, verdict, err)
		}
	}
}

func TestATokenThatWasSettledLateIsNotMissed(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert","ttl_seconds":60}`)
	f.skew.Store(int64(2 * time.Hour)) // the worker was down
	f.do("operator", "DELETE", "{p}/requests/"+m.RequestID+"/token", "").problem(409, engine.CodeNotPending)
	token, err := f.store.Token(t.Context(), engine.SecretDigest(engine.Secret(m.Token)))
	must(t, err)
	_, err = f.workflows.transitions.RecordSettlement(t.Context(), engine.SettlementCheck{ProjectID: f.project.ID, RequestID: token.RequestID})
	must(t, err)
	f.skew.Store(int64(720*time.Hour + 10*time.Minute))
	if n, err := f.store.PurgeTokens(t.Context(), f.now().Add(-720*time.Hour), 10); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if found := f.disagreements(engine.RetentionAges{Tokens: 720 * time.Hour}); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

func TestOneVerificationAtATime(t *testing.T) {
	store := &busyStore{}
	f := newFixture(t, func(f *fixture, o *api.Options) {
		store.Store, o.Verifier.Store = f.store, store
	})
	store.do = func() { f.do("admin", "GET", "{p}/audit-logs/verify", "").problem(429, engine.CodeRateLimited) }
	f.do("admin", "GET", "{p}/audit-logs/verify", "").is(200)
	f.do("admin", "GET", "{p}/audit-logs/verify", "").is(200)
}

// unreadable is a store that cannot read a request, as if its document were no JSON.
type unreadable struct{ engine.Store }

func (unreadable) Requests(context.Context, engine.RequestQuery) ([]engine.Request, string, error) {
	return nil, "", errors.New("not JSON")
}

func (unreadable) Request(context.Context, string, string) (engine.Request, error) {
	return engine.Request{}, errors.New("not JSON")
}

func TestDocumentsThatCannotBeReadAreDisagreements(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	v := f.verifier()
	v.Store = unreadable{f.store}
	verdict, err := v.Verify(t.Context(), f.project.ID, engine.AuditHead{})
	if err != nil || verdict.OK || len(verdict.Disagreements) != 1 || verdict.Disagreements[0].ID != m.RequestID {
		t.Errorf("%+v, %v", verdict, err)
	}
}

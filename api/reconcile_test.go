package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// disagreements are what a verifier finds in the project, an hour later.
func (f *fixture) disagreements(ages engine.RetentionAges) []engine.Disagreement {
	f.t.Helper()
	v := f.verifier(func() time.Time { return f.now().Add(time.Hour) })
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
	f.unrecorded = true // the check of every test keeps tokens for 30 days and an hour less
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
	v := f.verifier(func() time.Time { return f.now().Add(time.Hour) })
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

// A store may write a document a moment before its entry, so a new document may differ.
func TestDocumentsThatAreBeingWrittenDoNotDisagree(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.rewrite(m.RequestID, func(r *engine.Request) { r.Reason, r.UpdatedAt = "another", f.now() })
	for age, want := range map[time.Duration]int{0: 0, 2 * time.Minute: 1, -2 * time.Minute: 1} {
		v := f.verifier(func() time.Time { return f.now().Add(age) })
		verdict, err := v.Verify(t.Context(), f.project.ID, engine.AuditHead{})
		if err != nil || len(verdict.Disagreements) != want {
			t.Errorf("%v old: %+v, %v", age, verdict, err)
		}
	}
}

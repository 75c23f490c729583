package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var requestContracts = []contract{
	{"open", requestOpen},
	{"open again", requestOpenAgain},
	{"open race", requestOpenRace},
	{"advance", requestAdvance},
	{"advance race", requestAdvanceRace},
	{"idempotency", requestIdempotency},
	{"listing", requestListing},
	{"not ended", requestsNotEnded},
	{"retention", requestRetention},
}

func newRequest(projectID string) engine.Request {
	return engine.Request{
		ID: engine.NewID("req"), Version: 1, ProjectID: projectID, CertificateID: "cert_a", Requester: robot, Format: "pkcs12",
		Filename: "bundle.pkcs12", ContainsKey: true, Options: `{"legacy":true}`, Reason: "rotation", TTLSeconds: 60,
		BindIP: "192.0.2.7", IP: "192.0.2.8", UserAgent: "curl", Status: engine.StatusIssued, Explanation: []string{"allowed"},
		Remedies: []string{"none"}, PolicyRevision: "r1", TokenDigest: "", ExpiresAt: noon.Add(time.Minute),
		IdempotencyID: engine.NewID("idem"), BodyDigest: "b0", CreatedAt: noon, UpdatedAt: noon,
	}
}

// newDecision is a request with its token and its record.
func newDecision(projectID string) (engine.Request, engine.Token, engine.Record) {
	r := newRequest(projectID)
	token, rec := newToken(projectID, r.ID), record(projectID)
	r.TokenDigest, rec.Audit.RequestID = token.Digest, r.ID
	return r, token, rec
}

// first is a request's first transition.
func first(r engine.Request, token *engine.Token, rec engine.Record) engine.Transition {
	rec.Audit.RequestID = r.ID
	return engine.Transition{Request: r, Token: token, Record: &rec}
}

func requestOpen(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	r, token, rec := newDecision(project)
	_, err := s.Request(ctx, project, r.ID)
	refused(t, err, engine.CodeNotFound)

	same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(r, &token, rec))), r)
	same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), r)
	same(t, get[engine.Request](t)(s.CompleteRequest(ctx, project, r.ID)), r)
	same(t, get[engine.TokenRecord](t)(s.Token(ctx, token.Digest)), engine.TokenRecord{Token: token})
	onRecord(t, s, project, rec)
	for _, read := range []func(context.Context, string, string) (engine.Request, error){s.Request, s.CompleteRequest} {
		_, err = read(ctx, engine.NewID("prj"), r.ID)
		refused(t, err, engine.CodeNotFound)
	}

	denied, deniedRec := newRequest(project), record(project)
	denied.Status, denied.Code, deniedRec.Audit.RequestID = engine.StatusDenied, engine.CodePolicyDenied, denied.ID
	same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(denied, nil, deniedRec))), denied)
	onRecord(t, s, project, rec, deniedRec)
}

// An activity that runs again may decide otherwise: the first decision stays.
func requestOpenAgain(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	r, token, rec := newDecision(project)
	for range 2 {
		same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(r, &token, rec))), r)
	}
	other, otherToken := r, newToken(project, r.ID)
	other.TokenDigest, other.ExpiresAt, other.Version = otherToken.Digest, noon.Add(time.Hour), 9
	same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(other, &otherToken, rec))), r)

	longer := token
	longer.ExpiresAt = noon.Add(time.Hour)
	same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(r, &longer, rec))), r)
	same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), r)
	same(t, get[engine.TokenRecord](t)(s.Token(ctx, token.Digest)), engine.TokenRecord{Token: token})
	_, err := s.Token(ctx, otherToken.Digest)
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, project, rec)
}

func requestOpenRace(t *testing.T, s engine.Store) {
	type answer struct {
		stored engine.Request
		token  engine.Token
		err    error
	}
	ctx, project := t.Context(), engine.NewID("prj")
	r, _, rec := newDecision(project)
	answers := together(16, func(i int) (a answer) {
		mine := r
		a.token = newToken(project, r.ID)
		mine.TokenDigest, mine.Reason = a.token.Digest, a.token.Digest
		a.stored, a.err = s.OpenRequest(ctx, first(mine, &a.token, rec))
		return a
	})
	stored := get[engine.Request](t)(s.Request(ctx, project, r.ID))
	for _, a := range answers {
		ok(t, a.err)
		same(t, a.stored, stored)
		_, err := s.Token(ctx, a.token.Digest)
		if a.token.Digest == stored.TokenDigest {
			ok(t, err)
		} else {
			refused(t, err, engine.CodeNotFound)
		}
	}
	if n := len(chain(t, s, project)); n != 1 {
		t.Fatalf("%d entries are in the audit log, want 1", n)
	}
}

func requestAdvance(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	r, token, rec := newDecision(project)
	refused(t, s.AdvanceRequest(ctx, engine.Transition{Request: r}), engine.CodeNotFound)
	get[engine.Request](t)(s.OpenRequest(ctx, first(r, &token, rec)))

	newer := r
	newer.Version, newer.Status, newer.UpdatedAt = 3, engine.StatusConsumed, noon.Add(time.Minute)
	for range 2 {
		ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: newer}))
	}
	lateToken, lateRec := newToken(project, r.ID), record(project)
	for _, version := range []int{1, 2, 3} {
		late := r
		late.Version, late.Status = version, engine.StatusRevoked
		refused(t, s.AdvanceRequest(ctx, engine.Transition{Request: late, Token: &lateToken, Record: &lateRec}), engine.CodeConflict)
		same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), newer)
	}
	_, err := s.Token(ctx, lateToken.Digest)
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, project, rec)
	same(t, get[engine.Request](t)(s.OpenRequest(ctx, first(r, &token, rec))), newer)
}

// In whatever order the versions arrive, the newest one stays; an older one is
// refused.
func requestAdvanceRace(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	r, token, rec := newDecision(project)
	get[engine.Request](t)(s.OpenRequest(ctx, first(r, &token, rec)))
	const writers = 32
	for _, err := range together(writers, func(i int) error {
		mine := r
		mine.Version, mine.Reason = 2+i, engine.NewID("reason")
		if i == writers-1 {
			mine.Reason = "the newest"
		}
		return s.AdvanceRequest(ctx, engine.Transition{Request: mine})
	}) {
		if err != nil {
			refused(t, err, engine.CodeConflict)
		}
	}
	r.Version, r.Reason = 1+writers, "the newest"
	same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), r)
}

func requestIdempotency(t *testing.T, s engine.Store) {
	ctx, project, id := t.Context(), engine.NewID("prj"), engine.NewID("idem")
	_, err := s.RequestByIdempotency(ctx, id)
	refused(t, err, engine.CodeNotFound)
	var newest engine.Request
	for _, at := range []time.Duration{time.Hour, 3 * time.Hour, 2 * time.Hour} {
		r := newRequest(project)
		r.IdempotencyID, r.CreatedAt = id, noon.Add(at)
		get[engine.Request](t)(s.OpenRequest(ctx, first(r, nil, record(project))))
		if r.CreatedAt.After(newest.CreatedAt) {
			newest = r
		}
	}
	same(t, get[engine.Request](t)(s.RequestByIdempotency(ctx, id)), newest)

	unnamed := newRequest(project)
	unnamed.IdempotencyID = ""
	get[engine.Request](t)(s.OpenRequest(ctx, first(unnamed, nil, record(project))))
	_, err = s.RequestByIdempotency(ctx, "")
	refused(t, err, engine.CodeNotFound)
}

// requestFilters returns all combinations of the listing's filters.
func requestFilters(projectID string) []engine.RequestQuery {
	var queries []engine.RequestQuery
	for _, person := range []string{"", "user_bob", "user_alice"} {
		for _, status := range []engine.Status{"", engine.StatusIssued, engine.StatusConsumed} {
			for _, certificate := range []string{"", "cert_a", "cert_b"} {
				queries = append(queries, engine.RequestQuery{ProjectID: projectID, Person: person, Status: status, CertificateID: certificate})
			}
		}
	}
	return queries
}

func requestListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var stored []engine.Request
	for i := range 14 {
		r := newRequest(project)
		r.CreatedAt = times[i%len(times)]
		if i%2 == 0 {
			r.Requester = alice
		}
		if i%3 == 0 {
			r.CertificateID = "cert_b"
		}
		get[engine.Request](t)(s.OpenRequest(ctx, first(r, nil, record(project))))
		if i%5 < 2 {
			r.Version, r.Status = 2, engine.StatusConsumed
			ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: r}))
		}
		stored = append(stored, r)
	}
	other := newRequest(engine.NewID("prj"))
	get[engine.Request](t)(s.OpenRequest(ctx, first(other, nil, record(other.ProjectID))))
	stored = newestFirst(stored, func(r engine.Request) engine.Cursor { return engine.Cursor{Time: r.CreatedAt, ID: r.ID} })

	for _, q := range requestFilters(project) {
		list := func(page engine.Page) ([]engine.Request, string, error) {
			q.Page = page
			return s.Requests(ctx, q)
		}
		var want []engine.Request
		for _, r := range stored {
			if (q.Person == "" || r.Requester.Person == q.Person) && (q.Status == "" || r.Status == q.Status) &&
				(q.CertificateID == "" || r.CertificateID == q.CertificateID) {
				want = append(want, r)
			}
		}
		if q.Person == "" && q.CertificateID == "" && q.Status == "" {
			lists(t, list, want)
		}
		same(t, walk(t, list, 5), want)
		for _, limit := range []int{1, 3, 100} {
			q.Page = engine.Page{Limit: limit}
			same(t, get[int](t)(s.CountRequests(ctx, q)), min(limit, len(want)))
		}
		if q.CertificateID != "" {
			continue
		}
		same(t, walk(t, requestsBefore(list, noon), 3), slices.DeleteFunc(want, func(r engine.Request) bool { return !r.CreatedAt.Before(noon) }))
	}
}

// requestsBefore begins a listing with the requests before a time.
func requestsBefore(list lister[engine.Request], at time.Time) lister[engine.Request] {
	return func(page engine.Page) ([]engine.Request, string, error) {
		page, err := page.Before(at)
		if err != nil {
			return nil, "", err
		}
		return list(page)
	}
}

// requestsNotEnded leaves out each request that has ended, whether at once or later, and
// no other of any project.
func requestsNotEnded(t *testing.T, s engine.Store) {
	ctx, projects := t.Context(), map[string]bool{}
	var want []engine.Request
	for i, status := range []engine.Status{
		engine.StatusIssued, engine.StatusDenied, engine.StatusPendingApproval, engine.StatusConsumed, engine.StatusApproved, engine.StatusExpired,
		engine.StatusCancelled, engine.StatusIssued, engine.StatusRevoked, engine.StatusIssued,
	} {
		r := newRequest(engine.NewID("prj"))
		projects[r.ProjectID], r.Status, r.CreatedAt = true, status, times[i%len(times)]
		get[engine.Request](t)(s.OpenRequest(ctx, first(r, nil, record(r.ProjectID))))
		if i == 0 {
			r.Version, r.Status = 2, engine.StatusConsumed
			ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: r}))
		}
		if !r.Status.Ended() {
			want = append(want, r)
		}
	}
	want = newestFirst(want, func(r engine.Request) engine.Cursor { return engine.Cursor{Time: r.CreatedAt, ID: r.ID} })
	all := func(page engine.Page) ([]engine.Request, string, error) { return s.UnendedRequests(ctx, page) }
	lists(t, only(all, func(r engine.Request) bool { return projects[r.ProjectID] }), want)
}

func requestRetention(t *testing.T, s engine.Store) {
	ctx, project, past := t.Context(), engine.NewID("prj"), noon.AddDate(-1, 0, 0)
	open := func(status engine.Status, updated time.Time) engine.Request {
		r := newRequest(project)
		r.Status, r.CreatedAt, r.UpdatedAt = status, past.AddDate(-1, 0, 0), updated
		return get[engine.Request](t)(s.OpenRequest(ctx, first(r, nil, record(project))))
	}
	before := past.Add(-time.Millisecond)
	for _, status := range []engine.Status{engine.StatusConsumed, engine.StatusDenied, engine.StatusExpired, engine.StatusCancelled, engine.StatusRevoked} {
		open(status, before)
	}
	var kept []engine.Request
	for _, status := range []engine.Status{engine.StatusIssued, engine.StatusPendingApproval, engine.StatusApproved} {
		kept = append(kept, open(status, before))
	}
	kept = append(kept, open(engine.StatusConsumed, past))
	fresh := open(engine.StatusIssued, before)
	fresh.Version, fresh.Status, fresh.UpdatedAt = 2, engine.StatusConsumed, noon
	ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: fresh}))
	kept = append(kept, fresh)

	for _, want := range []int{2, 2, 1, 0} {
		if n := get[int](t)(s.PurgeRequests(ctx, past, 2)); n != want {
			t.Fatalf("%d requests were purged, want %d", n, want)
		}
	}
	list := func(page engine.Page) ([]engine.Request, string, error) {
		return s.Requests(ctx, engine.RequestQuery{ProjectID: project, Page: page})
	}
	same(t, walk(t, list, 10), newestFirst(kept, func(r engine.Request) engine.Cursor { return engine.Cursor{Time: r.CreatedAt, ID: r.ID} }))
}

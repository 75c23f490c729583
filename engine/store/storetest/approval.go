package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var approvalContracts = []contract{
	{"open", approvalOpen},
	{"advance", approvalAdvance},
	{"advance again", approvalAdvanceAgain},
	{"listing", approvalListing},
	{"retention", approvalRetention},
	{"pending", approvalsPending},
}

func newApproval(r engine.Request) engine.Approval {
	return engine.Approval{
		ID: r.ApprovalID, Version: 1, Kind: engine.ApprovalKindDownload, ProjectID: r.ProjectID, RequestID: r.ID, Requester: r.Requester,
		Certificate: engine.ApprovalCertificate{
			ID: "cert_a", Name: "www", Subject: "CN=www", SANs: []string{"www.example.com"}, SANCount: 1, Fingerprint: "ab", NotAfter: noon.AddDate(1, 0, 0),
		},
		Format: r.Format, Filename: r.Filename, ContainsKey: true, Options: r.Options, Reason: r.Reason, Digest: "d1", Required: 2,
		Status: engine.ApprovalPending, Decisions: []engine.Vote{}, CreatedAt: r.CreatedAt, UpdatedAt: noon, ExpiresAt: noon.Add(time.Hour),
	}
}

// waiting is the first transition of a request that waits for approval.
func waiting(projectID string) engine.Transition {
	r := newRequest(projectID)
	r.Status, r.ApprovalID, r.RequiredApprovals, r.ClaimWindowSeconds = engine.StatusPendingApproval, engine.NewID("apr"), 2, 60
	r.ApprovalExpiresAt = noon.Add(time.Hour)
	a := newApproval(r)
	s := first(r, nil, record(projectID))
	s.Approval = &a
	return s
}

func approvalOpen(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	step := waiting(project)
	_, err := s.Approval(ctx, project, step.Approval.ID)
	refused(t, err, engine.CodeNotFound)
	for range 2 {
		same(t, get[engine.Request](t)(s.OpenRequest(ctx, step)), step.Request)
		same(t, get[engine.Approval](t)(s.Approval(ctx, project, step.Approval.ID)), *step.Approval)
	}
	onRecord(t, s, project, *step.Record)
	_, err = s.Approval(ctx, engine.NewID("prj"), step.Approval.ID)
	refused(t, err, engine.CodeNotFound)

	// Another decision on the same request stores no second approval.
	again := waiting(project)
	again.Request.ID, again.Approval.RequestID = step.Request.ID, step.Request.ID
	same(t, get[engine.Request](t)(s.OpenRequest(ctx, again)), step.Request)
	_, err = s.Approval(ctx, project, again.Approval.ID)
	refused(t, err, engine.CodeNotFound)
}

func approvalAdvance(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	open := waiting(project)
	get[engine.Request](t)(s.OpenRequest(ctx, open))
	r, newer, rec := open.Request, *open.Approval, record(project)
	r.Version, newer.Version, newer.Status, newer.UpdatedAt = 3, 3, engine.ApprovalDenied, noon.Add(time.Minute)
	rec.Audit.RequestID = r.ID
	r.Decisions = []engine.Vote{{ID: "vote_a", Actor: alice, Decision: engine.DecisionDeny, Comment: "no <&>", Time: noon}}
	newer.Decisions = r.Decisions
	ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: r, Approval: &newer, Record: &rec}))
	same(t, get[engine.Approval](t)(s.Approval(ctx, project, newer.ID)), newer)
	same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), r)
	for _, version := range []int{1, 2, 3} {
		old, late := open.Request, *open.Approval
		old.Version, late.Version, late.Status = version, version, engine.ApprovalApproved
		refused(t, s.AdvanceRequest(ctx, engine.Transition{Request: old, Approval: &late}), engine.CodeConflict)
		same(t, get[engine.Approval](t)(s.Approval(ctx, project, newer.ID)), newer)
	}
	onRecord(t, s, project, *open.Record, rec)
}

// A transition whose answer was lost can be written again.
func approvalAdvanceAgain(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	open := waiting(project)
	get[engine.Request](t)(s.OpenRequest(ctx, open))
	r, a, rec := open.Request, *open.Approval, record(project)
	token := newToken(project, r.ID)
	r.Version, r.Status, r.TokenDigest, r.ExpiresAt = 2, engine.StatusIssued, token.Digest, token.ExpiresAt
	a.Version, a.Status, rec.Audit.RequestID = 2, engine.ApprovalApproved, r.ID
	for range 2 {
		ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: r, Token: &token, Approval: &a, Record: &rec}))
		same(t, get[engine.Request](t)(s.Request(ctx, project, r.ID)), r)
		same(t, get[engine.Approval](t)(s.Approval(ctx, project, a.ID)), a)
		same(t, get[engine.TokenRecord](t)(s.Token(ctx, token.Digest)), engine.TokenRecord{Token: token})
		onRecord(t, s, project, *open.Record, rec)
	}
}

func approvalListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var stored []engine.Approval
	states := []engine.ApprovalStatus{engine.ApprovalExpired, engine.ApprovalPending, engine.ApprovalPending, engine.ApprovalApproved, engine.ApprovalDenied, engine.ApprovalCancelled}
	for i := range 16 {
		step := waiting(project)
		if i%2 == 0 {
			step.Approval.Requester = alice
		}
		step.Approval.Status = states[i%len(states)]
		step.Approval.CreatedAt = times[i%len(times)]
		get[engine.Request](t)(s.OpenRequest(ctx, step))
		stored = append(stored, *step.Approval)
	}
	get[engine.Request](t)(s.OpenRequest(ctx, waiting(engine.NewID("prj"))))
	stored = newestFirst(stored, func(a engine.Approval) engine.Cursor { return engine.Cursor{Time: a.CreatedAt, ID: a.ID} })
	for _, person := range []string{"", alice.Person, robot.Person} {
		for _, status := range []engine.ApprovalStatus{"", engine.ApprovalPending, engine.ApprovalExpired, engine.ApprovalDenied} {
			list := func(page engine.Page) ([]engine.Approval, string, error) {
				return s.Approvals(ctx, engine.ApprovalQuery{ProjectID: project, Person: person, Status: status, Page: page})
			}
			var want []engine.Approval
			for _, a := range stored {
				if (person == "" || a.Requester.Person == person) && (status == "" || a.Status == status) {
					want = append(want, a)
				}
			}
			same(t, walk(t, list, 3), want)
			settled := func(page engine.Page) ([]engine.Approval, string, error) {
				return s.Approvals(ctx, engine.ApprovalQuery{ProjectID: project, Person: person, Status: status, Settled: true, Page: page})
			}
			want = slices.DeleteFunc(want, func(a engine.Approval) bool { return a.Status == engine.ApprovalPending })
			same(t, walk(t, settled, 3), want)
		}
	}
}

func approvalRetention(t *testing.T, s engine.Store) {
	ctx, project, past := t.Context(), engine.NewID("prj"), noon.AddDate(-2, 0, 0)
	gone, kept := waiting(project), waiting(project)
	gone.Request.Status, gone.Request.UpdatedAt = engine.StatusDenied, past.Add(-time.Hour)
	kept.Request.UpdatedAt = past.Add(-time.Hour)
	for _, step := range []engine.Transition{gone, kept} {
		get[engine.Request](t)(s.OpenRequest(ctx, step))
	}
	get[int](t)(s.PurgeRequests(ctx, past, 1000))
	_, err := s.Approval(ctx, project, gone.Approval.ID)
	refused(t, err, engine.CodeNotFound)
	same(t, get[engine.Approval](t)(s.Approval(ctx, project, kept.Approval.ID)), *kept.Approval)
}

// The pending approvals of all projects are counted; the contract's other approvals are
// among them.
func approvalsPending(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	pending := func() (int, time.Time) {
		n, since, err := s.ApprovalsPending(ctx, 1000)
		ok(t, err)
		return n, since
	}
	before, _ := pending()
	open := waiting(project)
	open.Request.CreatedAt, open.Approval.CreatedAt = noon.AddDate(-9, 0, 0), noon.AddDate(-9, 0, 0)
	get[engine.Request](t)(s.OpenRequest(ctx, open))
	if n, since := pending(); n != before+1 || !since.Equal(open.Approval.CreatedAt) {
		t.Errorf("%d are pending, the first since %s", n, since)
	}
	if n, _, err := s.ApprovalsPending(ctx, 1); err != nil || n != 1 {
		t.Errorf("%d are counted up to 1: %v", n, err)
	}
	r, settled, rec := open.Request, *open.Approval, record(project)
	r.Version, settled.Version, settled.Status = 2, 2, engine.ApprovalDenied
	r.Status, rec.Audit.RequestID = engine.StatusDenied, r.ID
	ok(t, s.AdvanceRequest(ctx, engine.Transition{Request: r, Approval: &settled, Record: &rec}))
	if n, since := pending(); n != before || since.Equal(open.Approval.CreatedAt) {
		t.Errorf("%d are pending after one was settled, the first since %s", n, since)
	}
}

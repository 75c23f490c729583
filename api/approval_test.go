package api_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// mode sets key export and the approval mode; two people must approve.
func (f *fixture) mode(export bool, mode engine.ApprovalMode) {
	f.t.Helper()
	f.policy(func(p *engine.CertificatePolicy) {
		p.AllowKeyExport, p.Approval.Mode, p.Approval.RequiredApprovals = export, mode, 2
	})
}

// waits asks for a download that has to wait.
func (f *fixture) waits(as, body string) wire.Pending {
	f.t.Helper()
	return read[wire.Pending](f.do(as, "POST", "{c:shop}/downloads", body).is(202))
}

func (f *fixture) approve(as string, p wire.Pending) answer {
	f.t.Helper()
	return f.do(as, "POST", "{p}/approvals/"+p.ApprovalID+"/approve", `{"comment":"go"}`)
}

// approved asks for a download and has it approved.
func (f *fixture) approved(body string) wire.Pending {
	f.t.Helper()
	p := f.waits("operator", body)
	f.approve("approver", p).is(200)
	f.approve("another", p).is(200)
	return p
}

func TestTheFourCases(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		export       bool
		mode         engine.ApprovalMode
		key, without int
	}{
		{false, engine.ApprovalOff, 403, 201},
		{false, engine.ApprovalKeyExport, 202, 201},
		{false, engine.ApprovalAll, 202, 202},
		{true, engine.ApprovalOff, 201, 201},
		{true, engine.ApprovalKeyExport, 202, 201},
		{true, engine.ApprovalAll, 202, 202},
	} {
		f.mode(c.export, c.mode)
		a := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"key"}`).is(c.key)
		f.do("operator", "POST", "{c:shop}/downloads", `{"format":"cert"}`).is(c.without)
		if c.key == 403 {
			a.problem(403, engine.CodeKeyExportDisabled)
			if !strings.Contains(string(a.body), `"title":"key export disabled"`) || !strings.Contains(string(a.body), "approval mode key_export") {
				t.Errorf("%s", a.body)
			}
		}
	}
}

func TestPendingAnswer(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	a := f.do("operator", "POST", "{c:shop}/downloads", `{"format":"pkcs12","passphrase":"canary-waits","reason":"renewal"}`).is(202)
	members(t, a.body, "request_id", "status", "approval_id", "approval_expires_at", "required_approvals", "passphrase_at_claim", "claim_window_seconds")
	p := read[wire.Pending](a)
	if p.Status != "pending_approval" || p.RequiredApprovals != 2 || !p.PassphraseAtClaim || time.Until(p.ApprovalExpiresAt) < 23*time.Hour {
		t.Fatalf("%+v", p)
	}
	if r := read[wire.Request](f.do("operator", "GET", "{p}/requests/"+p.RequestID, "").is(200)); len(r.Explanation) == 0 || len(r.Remedies) != 0 {
		t.Errorf("%+v", r) // there is no denial to remedy
	}
	b := f.do("approver", "GET", "{p}/approvals/"+p.ApprovalID, "").is(200)
	members(t, b.body, "id", "kind", "status", "request_id", "requester", "certificate", "format", "filename", "contains_key", "options",
		"reason", "digest", "required_approvals", "decisions", "quorum_note", "created_at", "expires_at")
	v := read[wire.Approval](b)
	if v.Kind != "download_key" || v.Status != "pending" || v.Certificate.ID != f.certs["shop"].ID || v.Certificate.FingerprintSHA256 != f.certs["shop"].Fingerprint ||
		v.Requester.Person != f.users["operator"].ID || v.Reason != "renewal" || len(v.Digest) != 64 || !v.ContainsKey || len(v.Decisions) != 0 {
		t.Fatalf("%+v", v)
	}
	replay := `{"format":"key"}`
	first := f.do("operator", "POST", "{c:shop}/downloads", replay, "Idempotency-Key", "k").is(202)
	again := read[wire.Replayed](f.do("operator", "POST", "{c:shop}/downloads", replay, "Idempotency-Key", "k").is(200))
	if !again.Replayed || again.RequestID != read[wire.Pending](first).RequestID || again.Status != "pending_approval" {
		t.Fatalf("%+v", again)
	}
}

func TestApprovalListing(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	mine, other := f.waits("operator", `{"format":"key"}`), f.waits("second", `{"format":"key"}`)
	f.do("approver", "POST", "{p}/approvals/"+other.ApprovalID+"/deny", `{"comment":"no"}`).is(200)
	for path, want := range map[string]int{"operator": 1, "second": 1, "approver": 2, "admin": 2, "approver?status=pending": 1, "second?status=pending": 0,
		"approver?status=settled": 1, "operator?status=settled": 0, "second?status=settled": 1} {
		as, query, _ := strings.Cut(path, "?")
		if page := read[wire.Page[wire.Approval]](f.do(as, "GET", "{p}/approvals?"+query, "").is(200)); len(page.Items) != want {
			t.Errorf("%s sees %d, want %d", path, len(page.Items), want)
		}
	}
	f.do("viewer", "GET", "{p}/approvals", "").problem(403, engine.CodeForbidden)
	f.do("approver", "GET", "{p}/approvals?status=open", "").problem(422, engine.CodeInvalidRequest)
	f.do("operator", "GET", "{p}/approvals/"+mine.ApprovalID, "").is(200)
	f.do("second", "GET", "{p}/approvals/"+mine.ApprovalID, "").problem(404, engine.CodeNotFound)
	f.do("approver", "GET", "{p}/approvals/none", "").problem(404, engine.CodeNotFound)
}

func TestVotes(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.waits("operator", `{"format":"key"}`)
	path := "{p}/approvals/" + p.ApprovalID
	f.do("operator", "POST", path+"/approve", `{}`).problem(403, engine.CodeForbidden)
	f.do("second", "POST", path+"/approve", `{}`).problem(404, engine.CodeNotFound)
	f.do("approver", "POST", path+"/approve", `{"more":1}`).problem(422, engine.CodeInvalidRequest)
	f.do("approver", "POST", path+"/deny", `{}`).problem(422, engine.CodeCommentRequired)
	f.do("approver", "POST", path+"/deny", `{"comment":"  "}`).problem(422, engine.CodeCommentRequired)
	f.do("approver", "POST", path+"/deny", "").problem(422, engine.CodeCommentRequired)
	half := read[wire.Approval](f.do("approver", "POST", path+"/approve", "").is(200))
	if half.Status != "pending" || len(half.Decisions) != 1 || half.Decisions[0].Decision != "approve" || half.Decisions[0].Actor.Person != f.users["approver"].ID {
		t.Fatalf("%+v", half)
	}
	f.do("approver", "POST", path+"/approve", "{}").problem(409, engine.CodeAlreadyDecided)
	f.do("approver", "POST", path+"/deny", `{"comment":"no"}`).problem(409, engine.CodeAlreadyDecided)
	full := read[wire.Approval](f.do("admin", "POST", path+"/approve", `{"comment":"fine"}`).is(200))
	if full.Status != "approved" || len(full.Decisions) != 2 {
		t.Fatalf("%+v", full)
	}
	f.do("another", "POST", path+"/deny", `{"comment":"late"}`).problem(409, engine.CodeNotPending)
	r := read[wire.Request](f.do("operator", "GET", "{p}/requests/"+p.RequestID, "").is(200))
	if r.Status != "approved" || r.ClaimExpiresAt == nil || r.ApprovalID != p.ApprovalID {
		t.Fatalf("%+v", r)
	}
}

// Approvers and admins cannot approve their own requests, whichever of their API
// keys they use.
func TestNobodyApprovesTheirOwnRequest(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	f.keys["approver2"] = f.key(f.caller("approver"), engine.RoleApprover, time.Time{})
	for _, as := range []string{"approver", "admin", "root"} {
		p := f.waits(as, `{"format":"key"}`)
		f.approve(as, p).problem(403, engine.CodeSelfApproval)
		f.do(as, "POST", "{p}/approvals/"+p.ApprovalID+"/deny", `{}`).problem(403, engine.CodeSelfApproval)
		if as == "approver" {
			f.approve("approver2", p).problem(403, engine.CodeSelfApproval)
		}
	}
	if entries := f.entries(f.project.ID, engine.ActionAccessRefused); len(entries) != 7 || entries[0].Detail["code"] != "self_approval" {
		t.Fatalf("%+v", entries)
	}
}

func TestClaim(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.waits("operator", `{"format":"pkcs12","passphrase":"dropped-passphrase"}`)
	path := "{p}/requests/" + p.RequestID + "/token"
	f.do("operator", "POST", path, `{"passphrase":"long enough"}`).problem(409, engine.CodeNotApproved)
	f.approve("approver", p).is(200)
	f.approve("another", p).is(200)
	f.do("admin", "POST", path, `{"passphrase":"long enough"}`).problem(403, engine.CodeForbidden)
	f.do("admin", "POST", path, `{`).problem(403, engine.CodeForbidden)
	f.do("operator", "POST", path, `{}`).problem(422, engine.CodePassphraseRequired)
	f.do("operator", "POST", path, `{"passphrase":"short"}`).problem(422, engine.CodePassphraseInvalid)
	first := read[wire.Minted](f.do("operator", "POST", path, `{"passphrase":"long enough"}`).is(201))
	second := read[wire.Minted](f.do("operator", "POST", path, `{"passphrase":"long enough too"}`).is(201))
	if first.Token == second.Token || time.Until(second.ExpiresAt) > 5*time.Minute || time.Until(second.ExpiresAt) < 4*time.Minute {
		t.Fatalf("%+v", second)
	}
	f.do("", "GET", "/downloads/"+first.Token.Reveal(), "").problem(410, engine.CodeTokenRevoked)
	f.do("", "GET", "/downloads/"+second.Token.Reveal(), "").is(200)
	f.do("operator", "POST", path, `{"passphrase":"long enough"}`).problem(409, engine.CodeNotPending)
}

// A request can be claimed a few times only, so that its history stays small. The
// refusal leaves the latest token as it is.
func TestClaimsAreBounded(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.approved(`{"format":"key"}`)
	path := "{p}/requests/" + p.RequestID + "/token"
	var last wire.Minted
	for range engine.MaxClaims {
		last = read[wire.Minted](f.do("operator", "POST", path, `{}`).is(201))
	}
	a := f.do("operator", "POST", path, `{}`)
	if a.problem(409, engine.CodeNotPending); !strings.Contains(string(a.body), "claimed 20 times") {
		t.Errorf("%s", a.body)
	}
	r, err := f.store.Request(t.Context(), f.project.ID, p.RequestID)
	must(t, err)
	token := engine.Token{Digest: "another", RequestID: r.ID, ProjectID: r.ProjectID}
	if _, err := f.workflows.Claim(t.Context(), engine.ClaimCommand{Token: token}); !errors.Is(err, engine.CodeNotPending) {
		t.Errorf("the transition itself said %v", err)
	}
	f.do("", "GET", "/downloads/"+last.Token.Reveal(), "").is(200)
}

// The claim evaluates the policy again, because it may have changed after the
// approval.
func TestClaimEvaluatesThePolicyAgain(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.approved(`{"format":"key"}`)
	path := "{p}/requests/" + p.RequestID + "/token"
	admin := f.caller("admin")
	for _, role := range []engine.Role{engine.RoleOperator, engine.RoleApprover} {
		_, err := f.admin.SetMember(t.Context(), admin, f.users["another"].ID, role)
		must(t, err)
		if role == engine.RoleOperator { // an approval by a user who may no longer approve
			f.do("operator", "POST", path, `{}`).problem(403, engine.CodeNoLongerPermitted)
		}
	}
	f.policy(func(p *engine.CertificatePolicy) {
		p.Approval.Mode, p.Approval.RequiredApprovals = engine.ApprovalKeyExport, 3
	})
	f.do("operator", "POST", path, `{}`).problem(403, engine.CodeNoLongerPermitted)
	f.mode(false, engine.ApprovalOff)
	f.do("operator", "POST", path, `{}`).problem(403, engine.CodeKeyExportDisabled)
	f.mode(false, engine.ApprovalKeyExport)
	for _, role := range []engine.Role{engine.RoleViewer, engine.RoleOperator} {
		_, err := f.admin.SetMember(t.Context(), admin, f.users["operator"].ID, role)
		must(t, err)
		if role == engine.RoleViewer {
			f.do("operator", "POST", path, `{}`).problem(403, engine.CodeForbidden)
		}
	}
	m := read[wire.Minted](f.do("operator", "POST", path, `{}`).is(201))
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}

func TestOnlyWhatWasApprovedLeaves(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.approved(`{"format":"key"}`)
	path := "{p}/requests/" + p.RequestID + "/token"
	m := read[wire.Minted](f.do("operator", "POST", path, `{}`).is(201))
	f.faults.leaf = f.certs["alone"].Leaf
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").problem(409, engine.CodeApprovalMismatch)
	f.do("operator", "POST", path, `{}`).problem(409, engine.CodeApprovalMismatch)
	f.faults.leaf = nil
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}

func TestCancelWaitingRequests(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalAll)
	p := f.waits("operator", `{"format":"cert"}`)
	path := "{p}/requests/" + p.RequestID + "/cancel"
	f.do("approver", "POST", path, "").problem(403, engine.CodeForbidden)
	if r := read[wire.Request](f.do("operator", "POST", path, "").is(200)); r.Status != "cancelled" {
		t.Fatalf("%+v", r)
	}
	f.do("operator", "POST", path, "").problem(409, engine.CodeNotPending)
	f.approve("approver", p).problem(409, engine.CodeNotPending)
	if a := read[wire.Approval](f.do("operator", "GET", "{p}/approvals/"+p.ApprovalID, "").is(200)); a.Status != "cancelled" {
		t.Fatalf("%+v", a)
	}
	late := f.approved(`{"format":"cert"}`)
	f.do("operator", "POST", "{p}/requests/"+late.RequestID+"/cancel", "").is(200)
	f.do("operator", "POST", "{p}/requests/"+late.RequestID+"/token", "{}").problem(409, engine.CodeNotPending)
}

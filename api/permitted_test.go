package api_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// holder is a token in its holder's hand, with what its tests change.
type holder struct {
	*fixture
	token   wire.Secret
	request string
	minter  string // id of the API key that minted it, "" for a session
}

// loss is one way to lose a right after the token was issued. A final one stays,
// whatever seems to give the right back.
type loss struct {
	issue func(f *fixture) holder
	lose  func(h holder)
	code  engine.Code
	back  func(h holder)
	final bool
}

// bySession issues a token to the operator in a browser.
func bySession(body string) func(f *fixture) holder {
	return func(f *fixture) holder {
		f.withPassword("operator")
		m := read[wire.Minted](f.signIn("operator").do("POST", "{c:shop}/downloads", body).is(201))
		return holder{fixture: f, token: m.Token, request: m.RequestID}
	}
}

// byKey issues a token to an API key that the administrator made with another key.
func byKey(body string) func(f *fixture) holder {
	return func(f *fixture) holder {
		expires := f.now().Add(time.Minute).UTC().Format(time.RFC3339)
		maker := read[wire.NewAPIKey](f.do("admin", "POST", "{p}/api-keys", `{"name":"maker","role":"admin"}`).is(201))
		key := read[wire.NewAPIKey](f.do("Bearer "+maker.Secret.Reveal(), "POST", "{p}/api-keys", `{"name":"made","role":"operator","expires_at":"`+expires+`"}`).is(201))
		m := read[wire.Minted](f.do("Bearer "+key.Secret.Reveal(), "POST", "{c:shop}/downloads", body).is(201))
		return holder{f, m.Token, m.RequestID, key.ID}
	}
}

// byApproval issues the token of a download that two people approved.
func byApproval(f *fixture) holder {
	f.mode(false, engine.ApprovalKeyExport)
	p := f.approved(`{"format":"key"}`)
	m := read[wire.Minted](f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201))
	return holder{fixture: f, token: m.Token, request: p.RequestID}
}

func disabled(name, value string) func(h holder) {
	return func(h holder) { h.do("root", "PATCH", "/users/"+h.users[name].ID, `{"disabled":`+value+`}`).is(200) }
}

func member(name string, role engine.Role) func(h holder) {
	return func(h holder) {
		h.do("root", "PUT", "{p}/members/"+h.users[name].ID, `{"role":"`+string(role)+`"}`).is(200)
	}
}

func removed(name string) func(h holder) {
	return func(h holder) { h.do("root", "DELETE", "{p}/members/"+h.users[name].ID, "").is(204) }
}

func setPolicy(change func(p *engine.CertificatePolicy)) func(h holder) {
	return func(h holder) { h.policy(change) }
}

func keysOn(p *engine.CertificatePolicy)  { p.AllowKeyExport = true }
func keysOff(p *engine.CertificatePolicy) { p.AllowKeyExport = false }

func quorum(n int) func(p *engine.CertificatePolicy) {
	return func(p *engine.CertificatePolicy) {
		p.Approval.Mode, p.Approval.RequiredApprovals = engine.ApprovalKeyExport, n
	}
}

func mode(m engine.ApprovalMode) func(p *engine.CertificatePolicy) {
	return func(p *engine.CertificatePolicy) { p.AllowKeyExport, p.Approval.Mode = true, m }
}

const keyBody, certBody = `{"format":"key"}`, `{"format":"cert"}`

var losses = map[string]loss{
	"the requester is disabled":     {bySession(keyBody), disabled("operator", "true"), engine.CodeNoLongerPermitted, disabled("operator", "false"), false},
	"the requester left":            {bySession(keyBody), removed("operator"), engine.CodeNoLongerPermitted, member("operator", engine.RoleOperator), false},
	"the requester is demoted":      {bySession(certBody), member("operator", engine.RoleViewer), engine.CodeNoLongerPermitted, member("operator", engine.RoleApprover), false},
	"the key's owner was disabled":  {byKey(keyBody), disabled("admin", "true"), engine.CodeNoLongerPermitted, disabled("admin", "false"), true},
	"the key's owner left":          {byKey(keyBody), removed("admin"), engine.CodeNoLongerPermitted, member("admin", engine.RoleAdmin), true},
	"the key's owner is demoted":    {byKey(certBody), member("admin", engine.RoleViewer), engine.CodeNoLongerPermitted, member("admin", engine.RoleAdmin), false},
	"the key expired":               {byKey(certBody), func(h holder) { h.skew.Store(int64(2 * time.Minute)) }, engine.CodeNoLongerPermitted, nil, true},
	"the key is revoked":            {byKey(keyBody), func(h holder) { h.do("root", "DELETE", "{p}/api-keys/"+h.minter, "").is(204) }, engine.CodeNoLongerPermitted, nil, true},
	"the key's maker is revoked":    {byKey(keyBody), revokeMaker, engine.CodeNoLongerPermitted, nil, true},
	"key export is off":             {bySession(keyBody), setPolicy(keysOff), engine.CodeKeyExportDisabled, setPolicy(keysOn), false},
	"keys need approval":            {bySession(keyBody), setPolicy(mode(engine.ApprovalKeyExport)), engine.CodeNoLongerPermitted, setPolicy(keysOn), false},
	"every file needs approval":     {bySession(certBody), setPolicy(mode(engine.ApprovalAll)), engine.CodeNoLongerPermitted, setPolicy(keysOn), false},
	"legacy encryption is off":      {bySession(`{"format":"pkcs12","passphrase":"long enough","options":{"legacy":true}}`), setPolicy(noLegacy), engine.CodeLegacyDisabled, setPolicy(keysOn), false},
	"an approver is disabled":       {byApproval, disabled("another", "true"), engine.CodeNoLongerPermitted, disabled("another", "false"), true},
	"an approver left":              {byApproval, removed("another"), engine.CodeNoLongerPermitted, member("another", engine.RoleApprover), true},
	"an approver is demoted":        {byApproval, member("another", engine.RoleOperator), engine.CodeNoLongerPermitted, member("another", engine.RoleAdmin), false},
	"the key that claimed ends":     {claimedByKey, revokeKeyOf("operator"), engine.CodeNoLongerPermitted, nil, true},
	"an approver's key ends":        {byApproval, revokeKeyOf("another"), engine.CodeNoLongerPermitted, nil, true},
	"more people must approve":      {byApproval, setPolicy(quorum(3)), engine.CodeNoLongerPermitted, setPolicy(quorum(2)), false},
	"approval is off, keys are too": {byApproval, setPolicy(keysOff), engine.CodeKeyExportDisabled, setPolicy(quorum(2)), false},
}

func revokeKeyOf(name string) func(h holder) {
	return func(h holder) { h.do("root", "DELETE", "{p}/api-keys/"+h.fixture.keyID(name), "").is(204) }
}

// claimedByKey issues the token of an approved request, which the operator made in a
// browser, to another API key of theirs.
func claimedByKey(f *fixture) holder {
	f.mode(false, engine.ApprovalKeyExport)
	f.withPassword("operator")
	p := read[wire.Pending](f.signIn("operator").do("POST", "{c:shop}/downloads", keyBody).is(202))
	f.approve("approver", p).is(200)
	f.approve("another", p).is(200)
	m := read[wire.Minted](f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201))
	return holder{fixture: f, token: m.Token, request: p.RequestID}
}

func noLegacy(p *engine.CertificatePolicy) { p.AllowKeyExport, p.AllowLegacyEncryption = true, false }

func revokeMaker(h holder) {
	h.t.Helper()
	key, err := h.store.APIKey(h.t.Context(), h.project.ID, h.minter)
	must(h.t, err)
	h.do("root", "DELETE", "{p}/api-keys/"+key.MadeBy[len(key.MadeBy)-1], "").is(204)
}

// Every right that a download rests on is asked again at every later step. The
// refusal says what would help, is on record, and burns nothing.
func TestEveryLostRightStopsEveryLaterStep(t *testing.T) {
	for name, c := range losses {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.allowKeys(true)
			h := c.issue(f)
			path, body := "/downloads/"+h.token.Reveal(), `{"token":"`+h.token.Reveal()+`"}`
			f.do("", "HEAD", path, "").is(200)
			refused := func() {
				t.Helper()
				f.do("", "HEAD", path, "").is(403)
				p := f.do("", "GET", path, "").problem(403, c.code)
				outlook := "works again"
				if c.final {
					outlook = "make a new request"
				}
				if remedies := fmt.Sprint(p.Fields["remedies"]); !strings.Contains(strings.ToLower(p.Detail+remedies), outlook) || remedies == "<nil>" {
					t.Errorf("the refusal does not say what would help: %+v", p)
				}
				f.do("root", "POST", "/downloads", body).problem(403, c.code)
				for _, e := range f.entries(f.project.ID, engine.ActionDownloadRefused)[:3] {
					if e.RequestID != h.request || e.Outcome != engine.AuditRefused || e.Detail["code"] != string(c.code) {
						t.Errorf("the audit entry is %+v", e)
					}
				}
			}
			c.lose(h)
			refused()
			if c.back != nil {
				c.back(h)
			}
			if c.final {
				refused()
				return
			}
			f.do("", "GET", path, "").is(200)
			f.do("", "GET", path, "").problem(410, engine.CodeTokenConsumed)
		})
	}
}

// A lost approval stops the claim of an approved request too, and does not end it.
func TestEveryLostApprovalStopsTheClaim(t *testing.T) {
	for name, c := range map[string]struct {
		lose, back func(h holder)
		after      int // the status once the right is back
	}{
		"an approver is disabled":  {disabled("another", "true"), disabled("another", "false"), 403},
		"an approver left":         {removed("another"), member("another", engine.RoleApprover), 403},
		"an approver is demoted":   {member("another", engine.RoleViewer), member("another", engine.RoleApprover), 201},
		"an approver's key ends":   {revokeKeyOf("another"), func(holder) {}, 403},
		"the requester's key ends": {revokeKeyOf("operator"), func(holder) {}, 403},
		"more people must approve": {setPolicy(quorum(3)), setPolicy(quorum(2)), 201},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mode(false, engine.ApprovalKeyExport)
			p := f.approved(keyBody)
			path := "{p}/requests/" + p.RequestID + "/token"
			f.withPassword("operator")
			requester := f.signIn("operator")
			c.lose(holder{fixture: f})
			if refusal := requester.do("POST", path, "{}").problem(403, engine.CodeNoLongerPermitted); refusal.Fields["remedies"] == nil {
				t.Errorf("%+v", refusal)
			}
			c.back(holder{fixture: f})
			requester.do("POST", path, "{}").is(c.after)
		})
	}
}

// The vote of a person who may no longer approve does not complete a quorum: the
// request stays pending, says why, and is approved once enough votes count.
func TestVotesOfFormerApproversDoNotCount(t *testing.T) {
	for name, lose := range map[string]func(h holder){
		"disabled": disabled("approver", "true"), "removed": removed("approver"), "demoted": member("approver", engine.RoleOperator),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mode(false, engine.ApprovalKeyExport)
			p := f.waits("operator", keyBody)
			f.approve("approver", p).is(200)
			lose(holder{fixture: f})
			a := read[wire.Approval](f.approve("another", p).is(200))
			r := read[wire.Request](f.do("operator", "GET", "{p}/requests/"+p.RequestID, "").is(200))
			if a.Status != "pending" || r.Status != "pending_approval" || a.QuorumNote != r.QuorumNote || !strings.Contains(a.QuorumNote, ": approver") {
				t.Fatalf("the approval is %s, the request %s: %q", a.Status, r.Status, a.QuorumNote)
			}
			a = read[wire.Approval](f.approve("admin", p).is(200))
			if a.Status != "approved" || a.QuorumNote != "" {
				t.Fatalf("the approval is %s: %q", a.Status, a.QuorumNote)
			}
			f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201)
		})
	}
}

// What a person has lost for good does not come back with their membership or their
// account: API keys, what these keys made, and, with the account, sessions.
func TestNothingIsRevived(t *testing.T) {
	for name, c := range map[string][2]func(h holder){
		"disabled and enabled": {disabled("admin", "true"), disabled("admin", "false")},
		"removed and re-added": {removed("admin"), member("admin", engine.RoleAdmin)},
		"demoted and promoted": {member("admin", engine.RoleViewer), member("admin", engine.RoleAdmin)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.withPassword("admin")
			made := read[wire.NewAPIKey](f.do("admin", "POST", "{p}/api-keys", `{"name":"made","role":"viewer"}`).is(201))
			session := f.signIn("admin")
			c[0](holder{fixture: f})
			c[1](holder{fixture: f})
			for what, a := range map[string]answer{
				"the key": f.do("admin", "GET", "{p}/certificates", ""), "what it made": f.do("Bearer "+made.Secret.Reveal(), "GET", "{p}/certificates", ""),
				"the session": session.do("GET", "{p}/certificates", ""),
			} {
				// A role is not a membership, and a session is not of one project.
				lives := name == "demoted and promoted" || name == "removed and re-added" && what == "the session"
				if (a.status == 200) != lives {
					t.Errorf("%s answers %d", what, a.status)
				}
			}
			f.signIn("admin").do("GET", "{p}/certificates", "").is(200)
		})
	}
}

func TestRevocationReachesTheKeysThatAKeyMade(t *testing.T) {
	f := newFixture(t)
	as, ids := "admin", []string{f.keyID("admin")}
	for range 8 {
		k := read[wire.NewAPIKey](f.do(as, "POST", "{p}/api-keys", `{"name":"next","role":"admin"}`).is(201))
		as, ids = "Bearer "+k.Secret.Reveal(), append(ids, k.ID)
	}
	f.do(as, "POST", "{p}/api-keys", `{"name":"too far","role":"admin"}`).problem(403, engine.CodeForbidden)
	f.do(as, "GET", "{p}/certificates", "").is(200)
	f.do("root", "DELETE", "{p}/api-keys/"+ids[1], "").is(204)
	f.do(as, "GET", "{p}/certificates", "").problem(401, engine.CodeUnauthenticated)
	f.do("admin", "GET", "{p}/certificates", "").is(200)
}

// losesAfterFirstPage takes its caller's rights away once a page of audit entries is read.
type losesAfterFirstPage struct {
	api.Store
	once sync.Once
	lose func()
}

func (s *losesAfterFirstPage) AuditEntries(ctx context.Context, q engine.AuditQuery) ([]engine.AuditEntry, string, error) {
	defer s.once.Do(s.lose)
	return s.Store.AuditEntries(ctx, q)
}

// An export stops, and does not look complete, once its reader may not read on.
func TestExportEndsWithRights(t *testing.T) {
	for as, chain := range map[string]string{"admin": "", "root": engine.SystemChain} {
		t.Run(as, func(t *testing.T) {
			store := &losesAfterFirstPage{}
			f := newFixture(t, func(_ *fixture, o *api.Options) { store.Store, o.Store = o.Store, store })
			yes, project := true, cmp.Or(chain, f.project.ID)
			store.lose = func() {
				must(t, f.store.ChangeUser(t.Context(), f.users[as].ID, engine.UserChange{Disabled: &yes}, engine.Record{Audit: f.caller("admin").Entry(time.Now(), "test")}))
			}
			for range 600 {
				e := f.caller("operator").Entry(time.Now(), "test.many")
				e.ProjectID = project
				must(t, f.store.Append(t.Context(), e))
			}
			f.exportBreaks(as, project)
		})
	}
}

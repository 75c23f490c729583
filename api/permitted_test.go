package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
	"the requester is disabled":                  {bySession(keyBody), disabled("operator", "true"), engine.CodeNoLongerPermitted, disabled("operator", "false"), false},
	"the requester left":                         {bySession(keyBody), removed("operator"), engine.CodeNoLongerPermitted, member("operator", engine.RoleOperator), false},
	"the requester is demoted":                   {bySession(certBody), member("operator", engine.RoleViewer), engine.CodeNoLongerPermitted, member("operator", engine.RoleApprover), false},
	"the key's owner was disabled":               {byKey(keyBody), disabled("admin", "true"), engine.CodeNoLongerPermitted, disabled("admin", "false"), true},
	"the key's owner left":                       {byKey(keyBody), removed("admin"), engine.CodeNoLongerPermitted, member("admin", engine.RoleAdmin), true},
	"the key's owner is demoted":                 {byKey(certBody), member("admin", engine.RoleViewer), engine.CodeNoLongerPermitted, member("admin", engine.RoleAdmin), false},
	"the key expired":                            {byKey(certBody), func(h holder) { h.skew.Store(int64(2 * time.Minute)) }, engine.CodeNoLongerPermitted, nil, true},
	"the key is revoked":                         {byKey(keyBody), func(h holder) { h.do("root", "DELETE", "{p}/api-keys/"+h.minter, "").is(204) }, engine.CodeNoLongerPermitted, nil, true},
	"the key's maker is revoked":                 {byKey(keyBody), revokeMaker, engine.CodeNoLongerPermitted, nil, true},
	"key export is off":                          {bySession(keyBody), setPolicy(keysOff), engine.CodeKeyExportDisabled, setPolicy(keysOn), false},
	"keys need approval":                         {bySession(keyBody), setPolicy(mode(engine.ApprovalKeyExport)), engine.CodeNoLongerPermitted, setPolicy(keysOn), false},
	"every file needs approval":                  {bySession(certBody), setPolicy(mode(engine.ApprovalAll)), engine.CodeNoLongerPermitted, setPolicy(keysOn), false},
	"legacy encryption is off":                   {bySession(`{"format":"pkcs12","passphrase":"long enough","options":{"legacy":true}}`), setPolicy(noLegacy), engine.CodeLegacyDisabled, setPolicy(keysOn), false},
	"an approver is disabled":                    {byApproval, disabled("another", "true"), engine.CodeNoLongerPermitted, disabled("another", "false"), true},
	"an approver left":                           {byApproval, removed("another"), engine.CodeNoLongerPermitted, member("another", engine.RoleApprover), true},
	"an approver is demoted":                     {byApproval, member("another", engine.RoleOperator), engine.CodeNoLongerPermitted, member("another", engine.RoleAdmin), false},
	"the key that claimed ends":                  {claimedByKey, revokeKeyOf("operator"), engine.CodeNoLongerPermitted, nil, true},
	"an approver's key ends":                     {byApproval, revokeKeyOf("another"), engine.CodeNoLongerPermitted, nil, true},
	"the owner no longer administers the system": {bySystemKey, systemAdmin("false"), engine.CodeNoLongerPermitted, systemAdmin("true"), true},
	"an approver no longer administers":          {byRoot, systemAdmin("false"), engine.CodeNoLongerPermitted, systemAdmin("true"), true},
	"another person set an approver's password":  {byApproval, passwordSet, engine.CodeNoLongerPermitted, passwordChanged, false},
	"more people must approve":                   {byApproval, setPolicy(quorum(3)), engine.CodeNoLongerPermitted, setPolicy(quorum(2)), false},
	"approval is off, keys are too":              {byApproval, setPolicy(keysOff), engine.CodeKeyExportDisabled, setPolicy(quorum(2)), false},
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

func systemAdmin(value string) func(h holder) {
	return func(h holder) {
		f := h.fixture
		f.do("first", "PATCH", "/users/"+f.users["root"].ID, `{"system_admin":`+value+`}`).is(200)
		f.keys["root"] = f.keys["first"] // the key of another system administrator, for what follows
	}
}

// secondAdministrator makes another system administrator, "first", who was one before root.
func secondAdministrator(f *fixture) {
	u, err := f.admin.CreateUser(f.t.Context(), engine.Caller{}, engine.User{Username: "first", SystemAdmin: true}, "")
	must(f.t, err)
	f.users["first"] = u
	f.keys["first"] = f.key(engine.Caller{Principal: engine.Principal{User: u}, Role: engine.RoleAdmin, Project: engine.Project{ID: engine.SystemChain}}, engine.RoleAdmin, time.Time{})
}

// bySystemKey issues a token to an API key of the system.
func bySystemKey(f *fixture) holder {
	secondAdministrator(f)
	f.do("root", "DELETE", "{p}/members/"+f.users["root"].ID, "").is(204)
	m := f.mint("root", "shop", keyBody)
	return holder{f, m.Token, m.RequestID, f.keyID("root")}
}

// byRoot issues the token of a download that a system administrator approved, who is no member.
func byRoot(f *fixture) holder {
	secondAdministrator(f)
	f.policy(func(p *engine.CertificatePolicy) {
		p.Approval.Mode, p.Approval.RequiredApprovals = engine.ApprovalKeyExport, 1
	})
	f.do("root", "DELETE", "{p}/members/"+f.users["root"].ID, "").is(204)
	p := f.waits("operator", keyBody)
	f.approve("root", p).is(200)
	m := read[wire.Minted](f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201))
	return holder{fixture: f, token: m.Token, request: p.RequestID}
}

const given = "given by somebody else"

func passwordSet(h holder) {
	h.do("root", "PATCH", "/users/"+h.users["another"].ID, `{"password":"`+given+`"}`).is(200)
}

func passwordChanged(h holder) {
	h.signInWith("another", given).do("PUT", "/me/password", `{"current_password":"`+given+`","new_password":"`+goodPassword+`"}`).is(200)
}

func noLegacy(p *engine.CertificatePolicy) { p.AllowKeyExport, p.AllowLegacyEncryption = true, false }

func revokeMaker(h holder) {
	h.t.Helper()
	key, err := h.store.APIKey(h.t.Context(), h.minter)
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

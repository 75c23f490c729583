package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestAuthentication(t *testing.T) {
	f := newFixture(t)
	p := f.do("", "GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	if p.Detail == "" || len(f.entries(engine.SystemChain, engine.ActionLoginFailed)) != 0 {
		t.Fatal("nothing presented is no failed login")
	}
	expired := f.key(f.caller("operator"), engine.RoleOperator, time.Now().Add(time.Minute))
	f.do("Bearer "+expired.Reveal(), "GET", "/me", "").is(200)
	f.skew.Store(int64(2 * time.Minute))
	bad := []string{"Bearer " + expired.Reveal(), "Bearer nonsense", "Bearer  ", "Bearer \t"}
	for _, header := range bad {
		a := f.do(header, "GET", "/me", "")
		a.problem(401, engine.CodeUnauthenticated)
		if a.header.Get("WWW-Authenticate") != `Bearer realm="countersign"` {
			t.Fatalf("%v", a.header)
		}
	}
	f.do("", "GET", "/me", "", "Authorization", "Basic YTpi").problem(401, engine.CodeUnauthenticated)
	entries := f.entries(engine.SystemChain, engine.ActionLoginFailed)
	if len(entries) != len(bad)+1 || entries[0].IP != "127.0.0.1" || entries[0].UserAgent != "countersign-test" {
		t.Fatalf("%d entries: %+v", len(entries), entries)
	}
	f.do("", "GET", "/me", "", "Authorization", "bearer "+f.keys["viewer"].Reveal()).is(200)
}

func TestRevokedKeyAndRemovedMember(t *testing.T) {
	f := newFixture(t)
	f.do("operator", "GET", "{p}/formats", "").is(200)
	must(t, f.admin.RemoveMember(t.Context(), f.caller("admin"), f.users["operator"].ID))
	f.do("operator", "GET", "{p}/formats", "").problem(404, engine.CodeNotFound)
	f.do("operator", "GET", "/me", "").is(200)
	keys, _, err := f.store.APIKeys(t.Context(), f.project.ID, engine.Page{Limit: 200})
	must(t, err)
	for _, k := range keys {
		if k.OwnerID == f.users["viewer"].ID {
			must(t, f.admin.RevokeAPIKey(t.Context(), f.caller("admin"), k.ID))
		}
	}
	f.do("viewer", "GET", "/me", "").problem(401, engine.CodeUnauthenticated)
}

// An API key has neither more rights than its owner has now nor more than its role.
func TestKeyRightsAreLimited(t *testing.T) {
	f := newFixture(t)
	weak := "Bearer " + f.key(f.caller("admin"), engine.RoleViewer, time.Time{}).Reveal()
	f.do(weak, "GET", "{p}/certificates", "").is(200)
	f.do(weak, "GET", "{p}/audit-logs", "").problem(403, engine.CodeForbidden)
	_, err := f.admin.SetMember(t.Context(), f.caller("admin"), f.users["approver"].ID, engine.RoleViewer)
	must(t, err)
	f.do("approver", "GET", "{p}/requests", "").problem(403, engine.CodeForbidden)
}

// The order of refusals is promised: 401, 404, 403, the body, the domain.
func TestOrderOfRefusals(t *testing.T) {
	f := newFixture(t)
	const garbage = `{"format"`
	missing := "{p}/certificates/cert_none/downloads"
	f.do("", "POST", missing, garbage, "Content-Encoding", "gzip").problem(401, engine.CodeUnauthenticated)
	f.do("outsider", "POST", "{c:shop}/downloads", garbage).problem(404, engine.CodeNotFound)
	f.do("viewer", "POST", missing, garbage).problem(404, engine.CodeNotFound)
	f.do("viewer", "POST", "/projects/none/certificates/x/downloads", garbage).problem(404, engine.CodeNotFound)
	f.do("viewer", "POST", "/projects/%ff/certificates/x/downloads", garbage).problem(404, engine.CodeNotFound)
	f.do("viewer", "POST", "{c:shop}/downloads", garbage, "Content-Encoding", "gzip").problem(403, engine.CodeForbidden)
	f.do("operator", "POST", "{c:shop}/downloads", garbage, "Content-Encoding", "gzip").problem(415, engine.CodeUnsupportedEncoding)
	f.do("operator", "POST", "{c:shop}/downloads", garbage).problem(400, engine.CodeMalformedJSON)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"word","more":1}`).problem(422, engine.CodeInvalidRequest)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"word","options":{"x":1}}`).problem(422, engine.CodeUnknownFormat)
	f.do("operator", "POST", "{c:keyless}/downloads", `{"format":"key","options":{"x":1}}`).problem(422, engine.CodeInvalidOptions)
	f.do("operator", "POST", "{c:keyless}/downloads", `{"format":"pkcs12","passphrase":"x"}`).problem(422, engine.CodeNoPrivateKey)
	f.do("operator", "POST", "{c:shop}/downloads", `{"format":"pkcs12","passphrase":"x"}`).problem(403, engine.CodeKeyExportDisabled)
}

// Every endpoint that needs a role refuses the role below it and users who are not
// members of the project.
func TestRoles(t *testing.T) {
	f := newFixture(t)
	issued := f.mint("operator", "shop", `{"format":"cert"}`)
	for _, e := range []struct{ method, path, tooLow string }{
		{"GET", "{p}/requests", "viewer"},
		{"GET", "{p}/requests/" + issued.RequestID, "viewer"},
		{"POST", "{p}/requests/" + issued.RequestID + "/token", "viewer"},
		{"POST", "{p}/requests/" + issued.RequestID + "/cancel", "viewer"},
		{"DELETE", "{p}/requests/" + issued.RequestID + "/token", "viewer"},
		{"POST", "{c:shop}/downloads", "viewer"},
		{"POST", "{p}/certificates", "approver"},
		{"PUT", "{p}/certificate-policy", "approver"},
		{"POST", "{p}/certificate-policy/evaluate", "viewer"},
		{"GET", "{p}/audit-logs", "approver"},
		{"GET", "{p}/audit-logs/verify", "approver"},
		{"GET", "{p}/download-tokens", "approver"},
		{"GET", "{p}/api-keys", "approver"},
		{"POST", "{p}/api-keys", "approver"},
		{"DELETE", "{p}/api-keys/x", "approver"},
		{"PUT", "{p}/members/" + f.users["viewer"].ID, "approver"},
		{"DELETE", "{p}/members/" + f.users["viewer"].ID, "approver"},
	} {
		before := len(f.entries(f.project.ID, ""))
		f.do(e.tooLow, e.method, e.path, "").problem(403, engine.CodeForbidden)
		entries := f.entries(f.project.ID, "")
		if len(entries) != before+1 || entries[0].Outcome != engine.AuditRefused || entries[0].Detail["code"] != "forbidden" {
			t.Errorf("%s %s: the refusal is not in the audit log", e.method, e.path)
		}
		f.do("outsider", e.method, e.path, "").problem(404, engine.CodeNotFound)
	}
	for _, path := range []string{"{p}", "{p}/certificates", "{c:shop}", "{c:shop}/events", "{p}/certificate-policy", "{p}/formats", "{p}/members"} {
		f.do("viewer", "GET", path, "").is(200)
		f.do("outsider", "GET", path, "").problem(404, engine.CodeNotFound)
	}
	mint := f.entries(f.project.ID, engine.ActionDownloadRefused)
	if len(mint) != 1 || mint[0].CertificateID != f.certs["shop"].ID || mint[0].Actor.Person != f.users["viewer"].ID {
		t.Errorf("a forbidden mint is in the audit log as %+v", mint)
	}
}

func TestSystemAdministrator(t *testing.T) {
	f := newFixture(t)
	for _, e := range []struct{ method, path, body string }{
		{"GET", "/users", ""}, {"POST", "/users", `{"username":"x"}`}, {"POST", "/projects", `{"name":"x"}`},
		{"GET", "/plugins", ""}, {"POST", "/plugins/pem/reload", ""},
		{"GET", "/users/" + f.users["viewer"].ID + "/sessions", ""}, {"DELETE", "/users/" + f.users["viewer"].ID + "/sessions", ""},
	} {
		f.do("admin", e.method, e.path, e.body).problem(403, engine.CodeForbidden)
		f.do("", e.method, e.path, e.body).problem(401, engine.CodeUnauthenticated)
		if a := f.do("root", e.method, e.path, e.body); a.status >= http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", e.method, e.path, a.status, a.body)
		}
	}
	refused := f.entries(engine.SystemChain, "access.refused")
	if len(refused) != 7 || refused[0].Actor.Person != f.users["admin"].ID {
		t.Fatalf("%+v", refused)
	}
}

// A key is bound to a certificate only by a whole digest, and only where certificates are
// asked for: nobody could use it otherwise.
func TestKeysThatNobodyCouldUse(t *testing.T) {
	body := func(digest string) string {
		return `{"name":"bound","role":"viewer","client_certificate_sha256":"` + digest + `"}`
	}
	newFixture(t).do("admin", "POST", "{p}/api-keys", body(strings.Repeat("a", 64))).problem(422, engine.CodeInvalidRequest)
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.ClientCertificates = true })
	for _, digest := range []string{"aa", strings.Repeat("A", 64), strings.Repeat("g", 64)} {
		f.do("admin", "POST", "{p}/api-keys", body(digest)).problem(422, engine.CodeInvalidRequest)
	}
	key := read[wire.NewAPIKey](f.do("admin", "POST", "{p}/api-keys", body(strings.Repeat("a", 64))).is(201))
	if p := f.do("Bearer "+key.Secret.Reveal(), "GET", "/me", "").problem(401, engine.CodeUnauthenticated); !strings.Contains(p.Detail, "client certificate") {
		t.Errorf("a bound key is refused with %q", p.Detail)
	}
	if e := f.entries(f.project.ID, engine.ActionLoginFailed); len(e) != 1 || e[0].Detail["key_id"] != key.ID || e[0].Actor.Type != "anonymous" {
		t.Errorf("the project's audit log has %+v", e)
	}
}

// Credentials that do not hold are limited by address; those that hold are not.
func TestFailedLoginsAreLimited(t *testing.T) {
	f := newFixture(t)
	limited := 0
	for range 80 { // 60 a minute may fail
		switch a := f.do("Bearer csk_wrong", "GET", "/me", ""); a.status {
		case 401:
		case 429:
			limited++
		default:
			t.Fatalf("a bad key answers %d", a.status)
		}
	}
	if limited == 0 {
		t.Error("nothing limits failed logins")
	}
	f.do("viewer", "GET", "/me", "").is(200)
}

// An API key cannot create another one that expires later.
func TestAKeyDoesNotProlongItself(t *testing.T) {
	f := newFixture(t)
	brief := "Bearer " + f.key(f.caller("admin"), engine.RoleAdmin, time.Now().Add(time.Hour)).Reveal()
	f.do(brief, "POST", "{p}/api-keys", `{"name":"no expiry","role":"viewer"}`).problem(403, engine.CodeForbidden)
	later := time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
	f.do(brief, "POST", "{p}/api-keys", `{"name":"longer","role":"viewer","expires_at":"`+later+`"}`).problem(403, engine.CodeForbidden)
	sooner := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
	f.do(brief, "POST", "{p}/api-keys", `{"name":"shorter","role":"viewer","expires_at":"`+sooner+`"}`).is(201)
}

package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

const goodPassword = "correct horse battery"

// browser is a person signed in: their cookie and what their pages send with it.
type browser struct {
	f              *fixture
	cookie, forger string
}

// withPassword gives a person of the fixture a password that they chose themselves.
func (f *fixture) withPassword(name string) {
	f.t.Helper()
	f.do("root", "PATCH", "/users/"+f.users[name].ID, `{"password":"`+given+`"}`).is(200)
	f.signInWith(name, given).do("PUT", "/me/password", `{"current_password":"`+given+`","new_password":"`+goodPassword+`"}`).is(200)
}

func credentials(username, password string) string {
	return `{"username":"` + username + `","password":"` + password + `"}`
}

func (f *fixture) signIn(name string, headers ...string) browser {
	f.t.Helper()
	return f.signInWith(name, goodPassword, headers...)
}

func (f *fixture) signInWith(name, password string, headers ...string) browser {
	f.t.Helper()
	a := f.do("", "POST", "/session", credentials(name, password), headers...).is(200)
	return browser{f, cookieOf(f.t, a).String(), read[wire.Session](a).CSRFToken.Reveal()}
}

func cookieOf(t *testing.T, a answer) *http.Cookie {
	t.Helper()
	c, err := http.ParseSetCookie(a.header.Get("Set-Cookie"))
	must(t, err)
	return &http.Cookie{Name: c.Name, Value: c.Value}
}

// do calls as a page of the UI does.
func (b browser) do(method, path, body string, headers ...string) answer {
	b.f.t.Helper()
	return b.f.do("", method, path, body, append([]string{"Cookie", b.cookie, "X-CSRF-Token", b.forger, "Sec-Fetch-Site", "same-origin"}, headers...)...)
}

func TestSignIn(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	a := f.do("", "POST", "/session", credentials("operator", goodPassword)).is(200)
	set := a.header.Get("Set-Cookie")
	for _, part := range []string{"countersign_session=", "; Path=/", "; HttpOnly", "; SameSite=Strict", "; Expires="} {
		if !strings.Contains(set, part) {
			t.Errorf("the cookie lacks %q: %s", part, set)
		}
	}
	s := read[wire.Session](a)
	if s.User.Username != "operator" || s.IdleSeconds != 3600 || s.CSRFToken == "" || strings.Contains(string(a.body), cookieOf(t, a).Value) {
		t.Errorf("%s", a.body)
	}
	b := browser{f, cookieOf(t, a).String(), s.CSRFToken.Reveal()}
	me := read[wire.Me](b.do("GET", "/me", "").is(200))
	if me.APIKey != nil || me.Session == nil || me.Session.CSRFToken != s.CSRFToken || me.User.ID != f.users["operator"].ID {
		t.Errorf("%+v", me)
	}
	issued := read[wire.Minted](b.do("POST", "{c:shop}/downloads", `{"format":"cert"}`).is(201))
	if minted := f.entries(f.project.ID, engine.ActionDownloadRequested); minted[0].RequestID != issued.RequestID || minted[0].Actor.Type != engine.ActorUser {
		t.Errorf("the audit entry is %+v", minted[0])
	}
	if again := f.signIn("operator", "Cookie", b.cookie); again.cookie == b.cookie || again.forger == b.forger {
		t.Error("signing in again gave the same session")
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionSessionOpened)); n != 4 { // two by withPassword
		t.Errorf("%d audit entries of sign-ins", n)
	}
	for _, secret := range []string{goodPassword, b.forger, strings.SplitN(b.cookie, "=", 2)[1]} {
		if strings.Contains(f.log.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
}

// A sign-in ends the browser's earlier session, whether it was the same user's or
// another's; a refused sign-in ends no session.
func TestSignInEndsTheFormerSession(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	f.withPassword("viewer")
	first, elsewhere := f.signIn("operator"), f.signIn("operator")
	f.do("", "POST", "/session", credentials("operator", "wrong"), "Cookie", first.cookie).problem(401, engine.CodeUnauthenticated)
	f.do("", "POST", "/session", credentials("viewer", goodPassword), "Cookie", first.cookie, "Sec-Fetch-Site", "cross-site").problem(403, engine.CodeCrossSiteRequest)
	first.do("GET", "/me", "").is(200)
	again := f.signIn("operator", "Cookie", first.cookie)
	first.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	other := f.signIn("viewer", "Cookie", again.cookie)
	again.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	f.signIn("viewer", "Cookie", again.cookie) // one that ended before
	other.do("GET", "/me", "").is(200)
	elsewhere.do("GET", "/me", "").is(200)
	closed := f.entries(engine.SystemChain, engine.ActionSessionClosed)
	if len(closed) != 2 || closed[0].Actor.Person != f.users["operator"].ID || closed[0].IP == "" {
		t.Errorf("audit entries: %+v", closed)
	}
}

// The answer does not reveal which users exist.
func TestSignInRefused(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	f.withPassword("viewer")
	f.do("root", "PATCH", "/users/"+f.users["viewer"].ID, `{"disabled":true}`).is(200)
	details := map[string]bool{}
	for _, c := range []string{
		credentials("operator", "wrong"), credentials("viewer", goodPassword), // disabled
		credentials("nobody", goodPassword), credentials("approver", goodPassword), // without a password
	} {
		a := f.do("", "POST", "/session", c)
		details[a.problem(401, engine.CodeUnauthenticated).Detail] = true
		if a.header.Get("Set-Cookie") != "" {
			t.Error("a refusal sets a cookie")
		}
	}
	if len(details) != 1 {
		t.Errorf("refusals differ: %v", details)
	}
	if n := len(f.entries(engine.SystemChain, engine.ActionLoginFailed)); n != 4 {
		t.Errorf("%d audit entries of failures", n)
	}
	f.do("", "POST", "/session", `{"username":"operator"}`).problem(422, engine.CodeInvalidRequest)
	f.do("", "POST", "/session", `{`).problem(400, engine.CodeMalformedJSON)
	for f.do("", "POST", "/session", credentials("nobody", goodPassword)).status == 401 { // uses up what an address may fail
	}
	a := f.do("", "POST", "/session", credentials("operator", goodPassword))
	if a.problem(429, engine.CodeRateLimited); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// A change needs the proof that one of our pages makes it.
func TestForgedRequests(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	b := f.signIn("operator")
	const path, body = "{c:shop}/downloads", `{"format":"cert"}`
	for name, headers := range map[string][]string{
		"no token":     {"X-CSRF-Token", ""},
		"another's":    {"X-CSRF-Token", f.signIn("operator").forger},
		"cross-site":   {"Sec-Fetch-Site", "cross-site"},
		"same-site":    {"Sec-Fetch-Site", "same-site"},
		"other origin": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		"null origin":  {"Sec-Fetch-Site", "", "Origin", "null"},
		"both differ":  {"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.example"},
		"navigation":   {"Sec-Fetch-Site", "none", "Origin", "null"},
		"other scheme": {"Sec-Fetch-Site", "", "Origin", strings.Replace(f.url, "http:", "https:", 1)},
		"other port":   {"Sec-Fetch-Site", "", "Origin", "http://127.0.0.1"},
	} {
		if a := b.do("POST", path, body, headers...); a.status != 403 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		} else {
			a.problem(403, engine.CodeCrossSiteRequest)
		}
	}
	b.do("POST", path, body, "Sec-Fetch-Site", "", "Origin", f.url).is(201)
	b.do("GET", "{p}/certificates", "", "X-CSRF-Token", "").is(200)
	for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		f.do("", "POST", "/session", credentials("operator", goodPassword), headers...).problem(403, engine.CodeCrossSiteRequest)
	}
	// A key needs none of it, and goes before a cookie.
	f.do("viewer", "POST", path, body, "Cookie", b.cookie).problem(403, engine.CodeForbidden)
	f.do("operator", "POST", path, body, "Sec-Fetch-Site", "cross-site").is(201)
}

func TestSessionsEnd(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	one, two := f.signIn("operator"), f.signIn("operator")
	a := one.do("DELETE", "/session", "").is(204)
	if c, err := http.ParseSetCookie(a.header.Get("Set-Cookie")); err != nil || c.Value != "" || c.MaxAge >= 0 {
		t.Errorf("the cookie stays: %v %v", c, err)
	}
	one.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	two.do("GET", "/me", "").is(200)

	three := f.signIn("operator")
	two.do("DELETE", "/sessions", "").is(204)
	two.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	three.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	f.do("operator", "GET", "/me", "").is(200) // keys are not sessions
	f.do("operator", "DELETE", "/session", "").problem(422, engine.CodeInvalidRequest)
	f.do("operator", "DELETE", "/sessions", "").problem(422, engine.CodeInvalidRequest)

	four := f.signIn("operator")
	f.do("root", "PATCH", "/users/"+f.users["operator"].ID, `{"disabled":true}`).is(200)
	four.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	f.do("operator", "GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	f.do("root", "PATCH", "/users/"+f.users["operator"].ID, `{"disabled":false}`).is(200)
	four.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)          // a session that ended stays ended
	f.do("operator", "GET", "/me", "").problem(401, engine.CodeUnauthenticated) // and so does a key
	f.do("root", "PATCH", "/users/"+f.users["root"].ID, `{"disabled":true}`).problem(422, engine.CodeInvalidRequest)
	f.do("root", "PATCH", "/users/nobody", `{"disabled":true}`).problem(404, engine.CodeNotFound)
	f.do("admin", "PATCH", "/users/"+f.users["root"].ID, `{"disabled":true}`).problem(403, engine.CodeForbidden)
}

// A system administrator sees where a user is signed in and signs them out everywhere, which
// is on record in each of the user's projects. The list has no session that has ended, nor
// one that somebody wrote into the database, and nothing by which one could be used.
func TestSystemAdministratorsEndSessions(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	path := "/users/" + f.users["operator"].ID + "/sessions"
	in := func() []wire.SignedIn {
		t.Helper()
		return read[wire.Page[wire.SignedIn]](f.do("root", "GET", path, "").is(200)).Items
	}
	one, two := f.signIn("operator"), f.signIn("operator") // withPassword signed in before
	forged := engine.Session{ID: engine.SecretDigest("guess"), UserID: f.users["operator"].ID, SeenAt: f.now(), ExpiresAt: f.now().Add(time.Hour)}
	must(t, f.store.CreateSession(t.Context(), forged, engine.Record{Audit: engine.AuditEntry{Ref: "forged", ProjectID: engine.SystemChain}}))
	if got := in(); len(got) != 3 || got[0].Address != "127.0.0.1" || got[0].CreatedAt.IsZero() || !got[0].ExpiresAt.After(got[0].SeenAt) {
		t.Errorf("%+v", got)
	}
	list := read[struct {
		Items      []json.RawMessage `json:"items"`
		NextCursor string            `json:"next_cursor"`
	}](f.do("root", "GET", path, ""))
	members(t, list.Items[0], "address", "created_at", "seen_at", "expires_at")
	one.do("DELETE", "/session", "").is(204)
	if got := in(); len(got) != 2 {
		t.Errorf("after one ended: %+v", got)
	}
	f.do("root", "DELETE", path, "").is(204)
	two.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	f.do("operator", "GET", "/me", "").is(200) // keys are not sessions
	if got := in(); len(got) != 0 {
		t.Errorf("after all ended: %+v", got)
	}
	f.signIn("operator").do("GET", "/me", "").is(200)
	for _, chain := range []string{engine.SystemChain, f.project.ID} {
		if e := f.entries(chain, engine.ActionUserSignedOut); len(e) != 1 || e[0].Actor.Person != f.users["root"].ID || e[0].Detail["username"] != "operator" {
			t.Errorf("%s: %+v", chain, e)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		f.do("root", method, "/users/nobody/sessions", "").problem(404, engine.CodeNotFound)
		f.do("root", method, "/users/a.b/sessions", "").problem(404, engine.CodeNotFound)
	}
}

// A session lasts as long as it is used, but not longer than its maximal life.
func TestSessionsExpire(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	idle, used, streaming, left := f.signIn("operator"), f.signIn("operator"), f.signIn("operator"), f.signIn("operator")
	later := func(by time.Duration) { f.skew.Add(int64(by)) }
	later(40 * time.Minute)
	used.do("GET", "/me", "").is(200)
	streaming.do("GET", "{p}/stream?last_event_id=x", "").problem(422, engine.CodeInvalidRequest)
	left.do("GET", "{p}/requests", "", "X-Client-Idle", "1").is(200)
	later(30 * time.Minute)
	idle.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	left.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)      // nor is a call that a page makes by itself
	streaming.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated) // an open stream does not count as use
	for range 21 {
		used.do("GET", "/me", "").is(200)
		later(30 * time.Minute)
	}
	used.do("GET", "/me", "").is(200)
	later(30 * time.Minute)
	used.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	n, err := f.store.PurgeSessions(t.Context(), f.admin.Clock(), 10)
	must(t, err)
	if n == 0 {
		t.Error("expired sessions were not deleted")
	}
}

func TestSetPassword(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	one, other := f.signIn("operator"), f.signIn("operator")
	change := func(current, next string) string {
		return `{"current_password":"` + current + `","new_password":"` + next + `"}`
	}
	one.do("PUT", "/me/password", change("wrong", "another good one")).problem(422, engine.CodeWrongPassword)
	if failed := f.entries(engine.SystemChain, engine.ActionLoginFailed); len(failed) != 1 || failed[0].Actor.Person != f.users["operator"].ID {
		t.Errorf("audit entries: %+v", failed)
	}
	one.do("PUT", "/me/password", change(goodPassword, "short")).problem(422, engine.CodeInvalidRequest)
	f.do("operator", "PUT", "/me/password", change(goodPassword, "another good one")).problem(422, engine.CodeInvalidRequest)
	a := one.do("PUT", "/me/password", change(goodPassword, "another good one")).is(200)
	one.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	other.do("GET", "/me", "").problem(401, engine.CodeUnauthenticated)
	browser{f, cookieOf(t, a).String(), read[wire.Session](a).CSRFToken.Reveal()}.do("GET", "/me", "").is(200)
	f.do("", "POST", "/session", credentials("operator", goodPassword)).problem(401, engine.CodeUnauthenticated)
	f.do("", "POST", "/session", credentials("operator", "another good one")).is(200)
}

// meanwhile calls happens while a password is compared.
type meanwhile struct {
	engine.Passwords
	happens func()
}

func (m *meanwhile) Matches(ctx context.Context, hash string, password engine.Secret) (bool, error) {
	if happens := m.happens; happens != nil {
		m.happens = nil
		happens()
	}
	return m.Passwords.Matches(ctx, hash, password)
}

func withMeanwhile(t *testing.T) (*fixture, *meanwhile) {
	m := &meanwhile{}
	return newFixture(t, func(f *fixture, _ *api.Options) {
		m.Passwords, f.authentication.Passwords = f.admin.Passwords, m
		f.freeze()
	}), m
}

// Concurrent attempts to sign in are limited to the same number as consecutive ones.
func TestConcurrentPasswordsAreLimited(t *testing.T) {
	f, m := withMeanwhile(t)
	f.withPassword("operator")
	for range 59 {
		f.do("", "POST", "/session", credentials("nobody", goodPassword)).is(401)
	}
	var nested int // checked outside the server's goroutine
	m.happens = func() {
		nested = f.do("", "POST", "/session", credentials("operator", "guess")).status
	}
	b := f.signIn("operator") // the last attempt; it holds, and so does not count
	if nested != 429 {
		t.Fatalf("a sign-in beside the last one allowed: %d", nested)
	}
	m.happens = func() {
		nested = b.do("PUT", "/me/password", `{"current_password":"guess","new_password":"another good one"}`).status
	}
	f.do("", "POST", "/session", credentials("operator", "guess")).problem(401, engine.CodeUnauthenticated)
	if nested != 429 {
		t.Fatalf("a change of password beside the last attempt allowed: %d", nested)
	}
	f.do("", "POST", "/session", credentials("operator", goodPassword)).problem(429, engine.CodeRateLimited)
}

// A user cannot change their password once an administrator has set it or has
// disabled the user meanwhile.
func TestSetPasswordAfterTheSessionEnded(t *testing.T) {
	f, m := withMeanwhile(t)
	f.withPassword("operator")
	b := f.signIn("operator")
	m.happens = func() {
		f.do("root", "PATCH", "/users/"+f.users["operator"].ID, `{"password":"set by an administrator"}`)
	}
	a := b.do("PUT", "/me/password", `{"current_password":"`+goodPassword+`","new_password":"another good one"}`)
	if a.problem(401, engine.CodeUnauthenticated); a.header.Get("Set-Cookie") != "" {
		t.Error("a refusal sets a cookie")
	}
	f.do("", "POST", "/session", credentials("operator", "another good one")).problem(401, engine.CodeUnauthenticated)
	f.do("", "POST", "/session", credentials("operator", "set by an administrator")).is(200)
}

// Over HTTPS no other host can set the cookie, and none is sent in clear.
func TestSessionOverHTTPS(t *testing.T) {
	f := newFixture(t, func(_ *fixture, o *api.Options) { o.PublicURL = "https://countersign.example.com" })
	f.withPassword("operator")
	a := f.do("", "POST", "/session", credentials("operator", goodPassword)).is(200)
	if set := a.header.Get("Set-Cookie"); !strings.HasPrefix(set, "__Host-countersign_session=") || !strings.Contains(set, "; Secure") || strings.Contains(set, "Domain") {
		t.Error(set)
	}
	c := cookieOf(t, a)
	f.do("", "GET", "/me", "", "Cookie", c.String()).is(200)
	f.do("", "GET", "/me", "", "Cookie", "countersign_session="+c.Value).problem(401, engine.CodeUnauthenticated)
}

// TestSessionsThatTheStoreWasGivenOpenNothing writes sessions as somebody does who can
// write to the database and has not the audit key.
func TestSessionsThatTheStoreWasGivenOpenNothing(t *testing.T) {
	f := newFixture(t)
	f.withPassword("operator")
	f.unrecorded = true
	own := f.signIn("operator")
	own.do("GET", "/me", "").is(200)
	name, secret, _ := strings.Cut(own.cookie, "=")
	stored, err := f.store.Session(t.Context(), engine.SecretDigest(engine.Secret(secret)))
	must(t, err)
	for what, change := range map[string]func(*engine.Session){
		"of another user": func(s *engine.Session) { s.UserID = f.users["root"].ID },
		"that ends later": func(s *engine.Session) { s.ExpiresAt = s.ExpiresAt.Add(time.Hour) },
		"of another time": func(s *engine.Session) { s.CreatedAt = s.CreatedAt.Add(time.Second) },
		"without a MAC":   func(s *engine.Session) { s.MAC = "" },
		"copied":          func(*engine.Session) {},
	} {
		forged := stored
		change(&forged)
		secret := "forged" + strings.ReplaceAll(what, " ", "")
		forged.ID = engine.SecretDigest(engine.Secret(secret))
		rec := engine.Record{Audit: f.caller("operator").Entry(f.now(), "test")}
		must(t, f.store.CreateSession(t.Context(), forged, rec))
		f.do("", "GET", "/me", "", "Cookie", name+"="+secret, "Sec-Fetch-Site", "same-origin").problem(401, engine.CodeUnauthenticated)
	}
	own.do("GET", "/me", "").is(200)
}

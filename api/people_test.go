package api_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func TestMe(t *testing.T) {
	f := newFixture(t)
	me := read[wire.Me](f.do("operator", "GET", "/me", "").is(200))
	if me.User.Username != "operator" || me.User.SystemAdmin || me.APIKey == nil || me.APIKey.Role != "operator" || me.APIKey.ProjectID != f.project.ID {
		t.Fatalf("%+v", me)
	}
	if me := read[wire.Me](f.do("root", "GET", "/me", "").is(200)); !me.User.SystemAdmin {
		t.Fatalf("%+v", me)
	}
}

func TestProjects(t *testing.T) {
	f := newFixture(t)
	page := read[wire.Page[wire.Project]](f.do("viewer", "GET", "/projects", "").is(200))
	if len(page.Items) != 1 || page.Items[0].ID != f.project.ID || page.Items[0].Role != "viewer" || page.NextCursor != nil {
		t.Fatalf("%+v", page)
	}
	p := read[wire.Project](f.do("root", "POST", "/projects", `{"name":"Cards"}`).is(201))
	if p.Name != "Cards" || p.Role != "admin" || p.ID == "" {
		t.Fatalf("%+v", p)
	}
	if entries := f.entries(p.ID, engine.ActionProjectCreated); len(entries) != 1 {
		t.Fatalf("%+v", entries)
	}
	f.do("root", "POST", "/projects", `{"name":""}`).problem(422, engine.CodeInvalidRequest)
	f.do("root", "GET", "/projects/"+p.ID, "").is(200)
	must(t, f.admin.RemoveMember(t.Context(), f.caller("admin"), f.users["viewer"].ID))
	if page := read[wire.Page[wire.Project]](f.do("viewer", "GET", "/projects", "").is(200)); len(page.Items) != 0 {
		t.Fatalf("%+v", page)
	}
}

func TestMembers(t *testing.T) {
	f := newFixture(t)
	page := read[wire.Page[wire.Member]](f.do("viewer", "GET", "{p}/members", "").is(200))
	names := map[string]string{}
	for _, m := range page.Items {
		names[m.Username] = m.Role
	}
	if len(page.Items) != 7 || names["root"] != "admin" || names["second"] != "operator" {
		t.Fatalf("%+v", page)
	}
	path := "{p}/members/" + f.users["viewer"].ID
	if m := read[wire.Member](f.do("admin", "PUT", path, `{"role":"operator"}`).is(200)); m.Role != "operator" || m.Username != "viewer" || m.Name != "The viewer" {
		t.Fatalf("%+v", m)
	}
	f.do("admin", "PUT", path, `{"role":"god"}`).problem(422, engine.CodeInvalidRequest)
	f.do("admin", "PUT", "{p}/members/user_none", `{"role":"viewer"}`).problem(404, engine.CodeNotFound)
	f.do("admin", "PUT", "{p}/members/%ff", `{"role":"viewer"}`).problem(404, engine.CodeNotFound)
	for _, disabled := range []string{"true", "false"} {
		f.do("root", "PATCH", "/users/"+f.users["viewer"].ID, `{"disabled":`+disabled+`}`).is(200)
		for _, m := range read[wire.Page[wire.Member]](f.do("operator", "GET", "{p}/members", "").is(200)).Items {
			if m.Disabled != (disabled == "true" && m.Username == "viewer") {
				t.Errorf("disabled=%s: %+v", disabled, m)
			}
		}
	}
	viewer, err := f.store.User(t.Context(), f.users["viewer"].ID)
	must(t, err)
	f.users["viewer"] = viewer
	f.keys["viewer"] = f.key(f.caller("viewer"), engine.RoleViewer, time.Time{}) // the old one ended with the account
	f.do("admin", "DELETE", path, "").is(204)
	f.do("admin", "DELETE", path, "").problem(404, engine.CodeNotFound)
	f.do("viewer", "GET", "{p}/members", "").problem(404, engine.CodeNotFound)
	if entries := f.entries(f.project.ID, engine.ActionMemberRemoved); len(entries) != 1 {
		t.Fatalf("%+v", entries)
	}
}

func TestAPIKeys(t *testing.T) {
	f := newFixture(t)
	expires := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	made := read[wire.NewAPIKey](f.do("admin", "POST", "{p}/api-keys", `{"name":"ci","role":"operator","expires_at":"`+expires+`"}`).is(201))
	if made.OwnerID != f.users["admin"].ID || made.Role != "operator" || made.ExpiresAt == nil || made.RevokedAt != nil {
		t.Fatalf("%+v", made)
	}
	key := "Bearer " + made.Secret.Reveal()
	f.do(key, "GET", "{p}/certificates", "").is(200)
	f.do(key, "POST", "{p}/api-keys", `{"name":"x","role":"viewer"}`).problem(403, engine.CodeForbidden)
	a := f.do("admin", "GET", "{p}/api-keys", "").is(200)
	if strings.Contains(string(a.body), made.Secret.Reveal()) || strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "digest") {
		t.Fatalf("%s", a.body)
	}
	if page := read[wire.Page[wire.APIKey]](a); len(page.Items) != 7 {
		t.Fatalf("%d keys", len(page.Items))
	}
	for _, body := range []string{
		`{"name":"","role":"viewer"}`, `{"name":"x","role":"god"}`, `{"name":"x"}`, `{"name":"x","role":"viewer","expires_at":"soon"}`,
		`{"name":"x","role":"viewer","expires_at":"2001-01-01T00:00:00Z"}`, `{"name":"x","role":"viewer","expires_at":"9999-12-31T23:59:59-01:00"}`, `{"name":"x","role":"viewer","owner_id":"` + f.users["viewer"].ID + `"}`,
	} {
		f.do("admin", "POST", "{p}/api-keys", body).problem(422, engine.CodeInvalidRequest)
	}
	f.do("admin", "DELETE", "{p}/api-keys/"+made.ID, "").is(204)
	f.do(key, "GET", "{p}/certificates", "").problem(401, engine.CodeUnauthenticated)
	f.do("admin", "DELETE", "{p}/api-keys/key_none", "").problem(404, engine.CodeNotFound)
	f.do("outsider", "DELETE", "{p}/api-keys/"+made.ID, "").problem(404, engine.CodeNotFound)
	if n := len(f.entries(f.project.ID, engine.ActionAPIKeyRevoked)); n != 1 {
		t.Fatalf("%d revocations are in the audit log", n)
	}
}

func TestUsers(t *testing.T) {
	f := newFixture(t)
	a := f.do("root", "POST", "/users", `{"username":"new","name":"New","email":"new@example.com","password":"canary-password"}`).is(201)
	u := read[wire.User](a)
	if u.Username != "new" || u.SystemAdmin || !u.PasswordSetByOther || strings.Contains(string(a.body), "canary-password") {
		t.Fatalf("%s", a.body)
	}
	stored, err := f.store.UserByName(t.Context(), "new")
	must(t, err)
	if !strings.HasPrefix(stored.PasswordHash, "$argon2id$") {
		t.Fatalf("%q", stored.PasswordHash)
	}
	for _, body := range []string{`{"username":"new"}`, `{"username":"No Name"}`, `{"username":"x","password":"short"}`, `{}`} {
		f.do("root", "POST", "/users", body).problem(422, engine.CodeInvalidRequest)
	}
	b := f.do("root", "GET", "/users", "").is(200)
	if page := read[wire.Page[wire.User]](b); len(page.Items) != 9 || strings.Contains(string(b.body), "argon2id") {
		t.Fatalf("%s", b.body)
	}
}

func TestPlugins(t *testing.T) {
	f := newFixture(t)
	page := read[wire.Page[wire.Plugin]](f.do("root", "GET", "/plugins", "").is(200))
	if len(page.Items) != 8 || page.Items[4].Name != "pem" || len(page.Items[4].Formats) != 5 || page.NextCursor != nil {
		t.Fatalf("%+v", page)
	}
	if s := page.Items[4].Sandbox; len(s.Enforced) == 0 && runtime.GOOS == "linux" || s.Missing == nil {
		t.Errorf("the answer does not contain a plugin's sandbox: %+v", s)
	}
	if p := read[wire.Plugin](f.do("root", "POST", "/plugins/zip/reload", "").is(200)); p.Name != "zip" || p.State != page.Items[7].State {
		t.Fatalf("%+v", p)
	}
	f.do("root", "POST", "/plugins/none/reload", "").problem(404, engine.CodeNotFound)
	if entries := f.entries(engine.SystemChain, engine.ActionPluginReloaded); len(entries) != 1 || entries[0].Detail["plugin"] != "zip" {
		t.Fatalf("%+v", entries)
	}
}

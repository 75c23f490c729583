package api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

// caller is somebody who calls: with which headers, and what they may do.
type caller struct {
	name    string
	headers []string
	person  string
	role    engine.Role // in the project, "" for none
	system  bool        // administers the whole system
	unknown bool        // the credential is missing or has ended
	foreign bool        // the session's calls come without the CSRF token
}

// mayCall is the status that an endpoint's declaration of access demands for a
// caller: 415 if they are admitted, because the test sends a Content-Encoding,
// which is refused next, before anything happens.
func (c caller) mayCall(e api.Endpoint, pid, requester string) int {
	const admitted = 415
	switch {
	case !e.Authenticated:
		return admitted
	case c.unknown:
		return 401
	case c.foreign && e.Method != "GET" && e.Method != "HEAD":
		return 403
	case e.System && !c.system:
		return 403
	case !strings.Contains(e.Path, "{pid}"):
		return admitted
	case pid == engine.SystemChain && c.system && e.SystemChain:
		return admitted
	case pid == engine.SystemChain || c.role == "":
		return 404
	}
	ofRequest := strings.Contains(e.Path, "{rid}") || strings.Contains(e.Path, "{aid}")
	switch {
	case ofRequest && c.role == engine.RoleOperator && c.person != requester:
		return 404
	case !c.role.Includes(e.Role), e.Requester && c.person != requester:
		return 403
	}
	return admitted
}

// callers are of every kind.
func (f *fixture) callers() []caller {
	roles := map[string]engine.Role{
		"viewer": engine.RoleViewer, "operator": engine.RoleOperator, "second": engine.RoleOperator,
		"approver": engine.RoleApprover, "admin": engine.RoleAdmin, "root": engine.RoleAdmin, "outsider": "",
	}
	all := []caller{{name: "nobody", unknown: true}}
	key := func(name, person string, secret engine.Secret, c caller) {
		c.name, c.person, c.headers = name, person, []string{"Authorization", "Bearer " + secret.Reveal()}
		all = append(all, c)
	}
	session := func(name, person string, b browser, c caller) {
		c.name, c.person, c.headers = name, person, []string{"Cookie", b.cookie, "X-CSRF-Token", b.forger, "Sec-Fetch-Site", "same-origin"}
		all = append(all, c)
		c.name, c.headers, c.foreign = name+" without the CSRF token", []string{"Cookie", b.cookie}, true
		all = append(all, c)
	}
	for person, role := range roles {
		f.withPassword(person)
		c := caller{role: role, system: person == "root"}
		key("key of "+person, person, f.keys[person], c)
		session("session of "+person, person, f.signIn(person), c)
	}
	root, elsewhere := engine.Caller{Principal: engine.Principal{User: f.users["root"]}, Role: engine.RoleAdmin, Project: f.project}, engine.Project{ID: "elsewhere"}
	key("a system administrator's key of the project", "root", f.key(root, engine.RoleAdmin, time.Time{}), caller{role: engine.RoleAdmin})
	key("a system administrator's lowest key of the project", "root", f.key(root, engine.RoleViewer, time.Time{}), caller{role: engine.RoleViewer})
	root.Project = elsewhere
	key("a system administrator's key of another project", "root", f.key(root, engine.RoleAdmin, time.Time{}), caller{})
	key("an administrator's lowest key", "admin", f.key(f.caller("admin"), engine.RoleViewer, time.Time{}), caller{role: engine.RoleViewer})

	expired := f.key(f.caller("admin"), engine.RoleAdmin, f.now().Add(time.Second))
	f.skew.Add(int64(2 * time.Second))
	key("an expired key", "admin", expired, caller{unknown: true})
	revoked := f.newKey("admin")
	k, err := f.store.APIKeyBySecret(f.t.Context(), engine.SecretDigest(revoked))
	must(f.t, err)
	must(f.t, f.admin.RevokeAPIKey(f.t.Context(), f.caller("admin"), k.ID))
	key("a revoked key", "admin", revoked, caller{unknown: true})

	f.withPassword("another")
	b := f.signIn("another")
	removed("another")(holder{fixture: f})
	member("another", engine.RoleAdmin)(holder{fixture: f})
	key("a key of an earlier membership", "another", f.keys["another"], caller{})
	f.skew.Add(int64(time.Second))
	session("a session of an earlier membership", "another", b, caller{})
	session("a session of the present membership", "another", f.signIn("another"), caller{role: engine.RoleAdmin})

	f.users["leaver"], err = f.admin.CreateUser(f.t.Context(), engine.Caller{}, engine.User{Username: "leaver"}, "")
	must(f.t, err)
	member("leaver", engine.RoleAdmin)(holder{fixture: f})
	f.withPassword("leaver")
	left, b := f.newKey("leaver"), f.signIn("leaver")
	disabled("leaver", "true")(holder{fixture: f})
	key("a disabled person's key", "leaver", left, caller{unknown: true})
	session("a disabled person's session", "leaver", b, caller{unknown: true})
	return all
}

// The authorization matrix: every endpoint by every kind of caller answers what its
// declaration of access demands.
func TestAuthorizationMatrix(t *testing.T) {
	f := newFixture(t)
	f.freeze()
	f.mode(false, engine.ApprovalKeyExport)
	callers := f.callers()
	p := f.waits("operator", keyBody)
	cells := 0
	for _, e := range f.server.Endpoints() {
		for _, pid := range []string{f.project.ID, engine.SystemChain} {
			path := strings.NewReplacer("/api/v1", "", "{pid}", pid, "{cid}", f.certs["shop"].ID, "{rid}", p.RequestID, "{aid}", p.ApprovalID,
				"{token}", "x", "{uid}", f.users["viewer"].ID, "{kid}", f.keyID("viewer"), "{tid}", "x", "{name}", "pem").Replace(e.Path)
			if !strings.HasPrefix(e.Path, "/api/v1/") || pid == engine.SystemChain && !strings.Contains(e.Path, "{pid}") {
				continue
			}
			f.skew.Add(int64(5 * time.Second)) // as many failed logins of one address as happen here are permitted again
			for _, c := range callers {
				cells++
				want := c.mayCall(e, pid, "operator")
				if a := f.do("", e.Method, path, "", append([]string{"Content-Encoding", "gzip"}, c.headers...)...); a.status != want {
					t.Errorf("%s %s in %s by %s answered %d, want %d: %s", e.Method, e.Path, pid, c.name, a.status, want, a.body)
				}
			}
		}
	}
	t.Logf("%d cells: %d callers", cells, len(callers))
	if cells < 2000 {
		t.Errorf("the matrix has only %d cells", cells)
	}
}

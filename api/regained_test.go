package api_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The vote of a person who may no longer approve does not complete a quorum: the
// request stays pending, says why, and is approved once enough votes count.
func TestVotesOfFormerApproversDoNotCount(t *testing.T) {
	for name, lose := range map[string]func(h holder){
		"disabled": disabled("approver", "true"), "removed": removed("approver"), "demoted": member("approver", engine.RoleOperator),
		"another person set the password": func(h holder) {
			h.do("root", "PATCH", "/users/"+h.users["approver"].ID, `{"password":"`+given+`"}`).is(200)
		},
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

// Once a person may approve again, they approve again: their vote takes the place of
// one that is void, or has the votes counted that stand now.
func TestRegainedVotesAreCountedAgain(t *testing.T) {
	for name, c := range map[string]struct{ lose, back func(h holder) }{
		"demoted and promoted": {member("approver", engine.RoleOperator), member("approver", engine.RoleApprover)},
		"removed and re-added": {removed("approver"), func(h holder) {
			member("approver", engine.RoleApprover)(h)
			h.keys["approver"] = h.newKey("approver")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mode(false, engine.ApprovalKeyExport)
			p := f.waits("operator", keyBody)
			f.approve("approver", p).is(200)
			f.approve("approver", p).problem(409, engine.CodeAlreadyDecided)
			c.lose(holder{fixture: f})
			f.approve("another", p).is(200)
			f.approve("another", p).problem(409, engine.CodeAlreadyDecided)
			a := read[wire.Approval](f.do("admin", "GET", "{p}/approvals/"+p.ApprovalID, "").is(200))
			if len(a.Decisions) != 2 || !a.Decisions[0].Void || a.Decisions[1].Void || a.Certificate.Issuer == "" {
				t.Errorf("%+v", a)
			}
			c.back(holder{fixture: f})
			if a := read[wire.Approval](f.approve("approver", p).is(200)); a.Status != "approved" || len(a.Decisions) != 2 || a.QuorumNote != "" {
				t.Fatalf("%+v", a)
			}
			if n := len(f.entries(f.project.ID, engine.ActionApprovalApproved)); n != 3 {
				t.Fatalf("%d votes are on record", n)
			}
			f.do("operator", "POST", "{p}/requests/"+p.RequestID+"/token", "{}").is(201)
		})
	}
}

// newKey is another API key of a person, with their present role.
func (f *fixture) newKey(name string) engine.Secret {
	f.t.Helper()
	by := f.caller(name)
	return f.key(by, by.Role, time.Time{})
}

// A person whose password somebody else set decides nothing, neither approval nor
// denial, until they have changed it; also if the right was lost after the call was
// admitted.
func TestNobodyDecidesWithAPasswordThatAnotherPersonSet(t *testing.T) {
	f := newFixture(t)
	f.mode(false, engine.ApprovalKeyExport)
	p := f.waits("operator", keyBody)
	passwordSet(holder{fixture: f})
	b := f.signInWith("another", given)
	if me := read[wire.Me](b.do("GET", "/me", "").is(200)); !me.User.PasswordSetByOther {
		t.Fatalf("%+v", me)
	}
	for _, decision := range []string{"approve", "deny"} {
		at := "{p}/approvals/" + p.ApprovalID + "/" + decision
		b.do("POST", at, `{"comment":"no"}`).problem(403, engine.CodePasswordChangeRequired)
		f.do("another", "POST", at, `{"comment":"no"}`).problem(403, engine.CodePasswordChangeRequired)
	}
	member("another", engine.RoleAdmin)(holder{fixture: f})
	b.do("POST", "{p}/api-keys", `{"name":"kept by the other person","role":"approver"}`).problem(403, engine.CodePasswordChangeRequired)
	passwordChanged(holder{fixture: f})
	f.approve("another", p).is(200)

	late := f.caller("approver")
	approval, err := f.store.Approval(t.Context(), f.project.ID, p.ApprovalID)
	must(t, err)
	member("approver", engine.RoleViewer)(holder{fixture: f})
	for _, decision := range []engine.Decision{engine.DecisionApprove, engine.DecisionDeny} {
		if _, err := f.downloads.Vote(t.Context(), late, approval, decision, "late"); !errors.Is(err, engine.CodeForbidden) {
			t.Errorf("%s: %v", decision, err)
		}
	}
}

// What is changed of a person stands in the log of each project that they are a
// member of, and in that of no other.
func TestChangesOfAPersonAreInTheLogsOfTheirProjects(t *testing.T) {
	f := newFixture(t)
	other := read[wire.Project](f.do("root", "POST", "/projects", `{"name":"Cards"}`).is(201))
	foreign := read[wire.Project](f.do("root", "POST", "/projects", `{"name":"Foreign"}`).is(201))
	at := f.users["approver"].ID
	f.do("root", "PUT", "/projects/"+other.ID+"/members/"+at, `{"role":"viewer"}`).is(200)
	for _, c := range []struct{ body, member, value string }{
		{`{"password":"` + given + `"}`, "password", "set"}, {`{"disabled":true}`, "disabled", "true"}, {`{"disabled":false}`, "disabled", "false"},
		{`{"system_admin":true}`, "system_admin", "true"}, {`{"system_admin":false}`, "system_admin", "false"},
	} {
		f.do("root", "PATCH", "/users/"+at, c.body).is(200)
		for _, chain := range []string{engine.SystemChain, f.project.ID, other.ID} {
			e := f.entries(chain, engine.ActionUserChanged)
			if len(e) == 0 || e[0].Detail[c.member] != c.value || e[0].Detail["user_id"] != at || e[0].Actor.Person != f.users["root"].ID {
				t.Errorf("%s: the log of %s has %+v", c.body, chain, e)
			}
		}
	}
	if e := f.entries(foreign.ID, engine.ActionUserChanged); len(e) != 0 {
		t.Errorf("%+v", e)
	}
	if e := f.entries(f.project.ID, engine.ActionUserChanged); len(e) != 5 {
		t.Errorf("%d entries", len(e))
	}
}

// The privilege of a system administrator can be withdrawn. What it permitted ends
// at once, and does not come back with it, except to the person.
func TestWithdrawnPrivilege(t *testing.T) {
	f := newFixture(t)
	secondAdministrator(f)
	f.withPassword("root")
	session, at := f.signIn("root"), "/users/"+f.users["root"].ID
	for _, body := range []string{`{"system_admin":false}`, `{"disabled":true}`, `{"system_admin":false,"disabled":true}`} {
		session.do("PATCH", at, body).problem(422, engine.CodeInvalidRequest) // the last administrator could not come back
	}
	inProject := f.key(engine.Caller{Principal: engine.Principal{User: f.users["root"]}, Role: engine.RoleAdmin, Project: f.project}, engine.RoleAdmin, time.Time{})
	f.do("first", "DELETE", "{p}/members/"+f.users["root"].ID, "").is(204)
	f.do("Bearer "+inProject.Reveal(), "GET", "{p}/audit-logs", "").is(200)
	for range 2 {
		f.do("first", "PATCH", at, `{"system_admin":false}`).is(200)
		f.do("root", "GET", "/users", "").problem(401, engine.CodeUnauthenticated)
		f.do("Bearer "+inProject.Reveal(), "GET", "{p}/audit-logs", "").problem(404, engine.CodeNotFound)
		session.do("GET", "/users", "").problem(401, engine.CodeUnauthenticated)
		f.signIn("root").do("GET", "{p}", "").problem(404, engine.CodeNotFound)
		f.do("first", "PATCH", at, `{"system_admin":true}`).is(200)
	}
	f.do("root", "GET", "/users", "").problem(401, engine.CodeUnauthenticated)
	f.do("Bearer "+inProject.Reveal(), "GET", "{p}/audit-logs", "").problem(404, engine.CodeNotFound)
	session.do("GET", "/users", "").problem(401, engine.CodeUnauthenticated)
	f.signIn("root").do("GET", "/users", "").is(200)
}

// A key that its owner's lost privilege does not come back to gives none to the keys
// that are made with it.
func TestKeysPassOnWhatTheyLost(t *testing.T) {
	f := newFixture(t)
	secondAdministrator(f)
	root := engine.Caller{Principal: engine.Principal{User: f.users["root"]}, Role: engine.RoleAdmin, Project: f.project}
	maker := "Bearer " + f.key(root, engine.RoleAdmin, time.Time{}).Reveal()
	for _, body := range []string{`{"system_admin":false}`, `{"system_admin":true}`} {
		f.do("first", "PATCH", "/users/"+f.users["root"].ID, body).is(200)
	}
	made := read[wire.NewAPIKey](f.do(maker, "POST", "{p}/api-keys", `{"name":"made","role":"admin"}`).is(201)) // by its owner's membership
	f.do("first", "DELETE", "{p}/members/"+f.users["root"].ID, "").is(204)
	for _, key := range []string{maker, "Bearer " + made.Secret.Reveal()} {
		f.do(key, "GET", "{p}/certificates", "").problem(404, engine.CodeNotFound)
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
				if lives := name == "demoted and promoted"; (a.status == 200) != lives { // a role is not a membership
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
				_, err := f.admin.ChangeUser(t.Context(), f.caller("operator"), f.users[as].ID, engine.UserSettings{Disabled: &yes})
				must(t, err)
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

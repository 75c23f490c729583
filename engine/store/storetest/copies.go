package storetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// filled stores documents of every kind. former was removed from the project.
func filled(t *testing.T, s engine.Store) (project engine.Project, former engine.Member) {
	t.Helper()
	ctx := t.Context()
	project = storedProject(t, s)
	u := newUser()
	ok(t, s.CreateUser(ctx, u, record(engine.SystemChain)))
	ok(t, s.CreateAPIKey(ctx, newAPIKey(project.ID), record(project.ID)))
	ok(t, s.CreateSession(ctx, newSession(), record(engine.SystemChain)))
	ended := newSession()
	ok(t, s.CreateSession(ctx, ended, record(engine.SystemChain)))
	ok(t, s.EndSession(ctx, ended.ID, record(engine.SystemChain)))

	former = newMember(project.ID, u.ID)
	again := newMember(project.ID, "user_again")
	for _, m := range []engine.Member{former, again} {
		ok(t, s.SetMember(ctx, m, record(project.ID)))
		ok(t, s.RemoveMember(ctx, project.ID, m.UserID, noon.Add(time.Hour), record(project.ID)))
	}
	ok(t, s.SetMember(ctx, again, record(project.ID)))

	withEvent := record(project.ID)
	c := newCertificate(project.ID, "www.example.com")
	c.HasPrivateKey = true
	withEvent.Event = event(project.ID, c.ID)
	ok(t, s.CreateCertificate(ctx, c, newSealedKey(), withEvent))
	for version := range 2 {
		ok(t, s.AddPolicy(ctx, newPolicy(project.ID, version+1), record(project.ID)))
	}
	for range 3 {
		ok(t, s.CreateNotificationTarget(ctx, newTarget(project.ID), 5, record(project.ID)))
	}
	gone := newTarget(project.ID)
	ok(t, s.CreateNotificationTarget(ctx, gone, 5, record(project.ID)))
	ok(t, s.DeleteNotificationTarget(ctx, project.ID, gone.ID, record(project.ID)))

	_, err := s.OpenRequest(ctx, waiting(project.ID))
	ok(t, err)
	for range 80 { // more than one batch
		storedToken(t, s, newToken(project.ID, engine.NewID("req")))
	}
	used := storedToken(t, s, newToken(project.ID, engine.NewID("req")))
	end, rec := newSettlement(used, engine.Consumed)
	_, _, err = s.Settle(ctx, end, rec)
	ok(t, err)
	late := record(project.ID)
	late.Audit.Time = noon.Add(-time.Hour)
	ok(t, s.Append(ctx, late.Audit))
	_, err = s.DataKey(ctx, engine.NewID("dk"), newDataKey(1))
	ok(t, err)
	return project, former
}

// exported are all documents of a kind, by id.
func exported(t *testing.T, s engine.Store, kind string) (all []engine.StoredDocument) {
	t.Helper()
	ok(t, s.ExportDocuments(t.Context(), kind, func(d engine.StoredDocument) error {
		all = append(all, d)
		return nil
	}))
	if kind != "audit_logs" {
		slices.SortFunc(all, func(a, b engine.StoredDocument) int { return strings.Compare(a.ID, b.ID) })
	}
	return all
}

// copies carries an installation from one store to another.
func copies(t *testing.T, source, target engine.Store) {
	ctx := t.Context()
	ok(t, source.UseAuditKey(ctx, auditKey))
	ok(t, target.UseAuditKey(ctx, auditKey))
	project, former := filled(t, source)
	ok(t, source.CompleteDocuments(ctx))
	for range 2 { // the second time adds nothing
		for _, kind := range engine.DocumentKinds {
			all := exported(t, source, kind)
			if len(all) == 0 {
				t.Fatalf("no %s", kind)
			}
			for batch := range slices.Chunk(all, 7) {
				ok(t, target.ImportDocuments(ctx, kind, batch))
			}
			same(t, exported(t, target, kind), all)
		}
	}
	inPlace(t, target)
	for _, name := range []string{project.ID, engine.SystemChain} {
		same(t, chain(t, target, name), chain(t, source, name))
	}
	same(t, walk(t, search(t, target, project.ID, "example"), 10), walk(t, search(t, source, project.ID, "example"), 10))
	if found := walk(t, search(t, target, project.ID, "example"), 10); len(found) != 1 {
		t.Errorf("a search finds %d certificates", len(found))
	}
	from, to := noon.Add(-2*time.Hour), noon.Add(-time.Minute)
	early := engine.AuditQuery{ProjectID: project.ID, From: from, To: to, Page: engine.Page{Limit: 10}}
	if found, _, err := target.AuditEntries(ctx, early); err != nil || len(found) != 1 {
		t.Errorf("%d entries of a time, %v", len(found), err)
	}
	refused(t, target.RemoveMember(ctx, project.ID, former.UserID, noon, record(project.ID)), engine.CodeNotFound)
	_, err := target.Member(ctx, project.ID, former.UserID)
	refused(t, err, engine.CodeNotFound)
	ok(t, target.SetMember(ctx, former, record(project.ID)))
	if m := get[engine.Member](t)(target.Member(ctx, project.ID, former.UserID)); !m.FormerUntil.Equal(noon.Add(time.Hour)) {
		t.Errorf("a member who comes back was one until %s", m.FormerUntil)
	}
	if n := len(chain(t, target, project.ID)) - len(chain(t, source, project.ID)); n != 1 {
		t.Errorf("%d entries are new", n)
	}
	copiesRefused(t, source, target)
}

// copiesRefused tries what a store must not take.
func copiesRefused(t *testing.T, source, target engine.Store) {
	ctx := t.Context()
	users := exported(t, target, "users")
	other := users[0]
	other.JSON = []byte(strings.Replace(string(other.JSON), `"name":"`, `"name":"x`, 1))
	refused(t, target.ImportDocuments(ctx, "users", []engine.StoredDocument{other}), engine.CodeExists)
	other = users[0] // the same user name under another id
	other.ID += "x"
	other.JSON = []byte(strings.Replace(string(other.JSON), `"id":"`+users[0].ID, `"id":"`+other.ID, 1))
	refused(t, target.ImportDocuments(ctx, "users", []engine.StoredDocument{other}), engine.CodeExists)
	same(t, exported(t, target, "users"), users)

	for _, s := range []engine.Store{source, target} {
		none := func(engine.StoredDocument) error { return nil }
		if s.ExportDocuments(ctx, "nonsense", none) == nil || s.ImportDocuments(ctx, "nonsense", nil) == nil {
			t.Error("an unknown kind is taken")
		}
	}
	stop := errors.New("stop")
	refused(t, source.ExportDocuments(ctx, "users", func(engine.StoredDocument) error { return stop }), stop)
}

package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

var projectContracts = []contract{
	{"create", projectCreate},
	{"create again", projectCreateAgain},
	{"listing", projectListing},
}

func projectCreate(t *testing.T, s engine.Store) {
	ctx, p := t.Context(), newProject()
	_, err := s.Project(ctx, p.ID)
	refused(t, err, engine.CodeNotFound)

	rec := record(p.ID)
	ok(t, s.CreateProject(ctx, p, newMember(p.ID, "user_alice"), rec))
	same(t, get[engine.Project](t)(s.Project(ctx, p.ID)), p)
	same(t, get[engine.Member](t)(s.Member(ctx, p.ID, "user_alice")), newMember(p.ID, "user_alice"))
	onRecord(t, s, p.ID, rec)
}

func projectCreateAgain(t *testing.T, s engine.Store) {
	ctx, p, rec := t.Context(), newProject(), engine.Record{}
	rec = record(p.ID)
	ok(t, s.CreateProject(ctx, p, newMember(p.ID, "user_alice"), rec))

	other := p
	other.Name = "Another"
	refused(t, s.CreateProject(ctx, other, newMember(p.ID, "user_mallory"), record(p.ID)), engine.CodeExists)
	same(t, get[engine.Project](t)(s.Project(ctx, p.ID)), p)
	_, err := s.Member(ctx, p.ID, "user_mallory")
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, p.ID, rec)
}

func projectListing(t *testing.T, s engine.Store) {
	ctx, mine, person := t.Context(), map[string]bool{}, engine.NewID("user")
	var projects, joined []engine.Project
	for i, at := range times {
		p := newProject()
		p.CreatedAt = at
		first := newMember(p.ID, "user_alice")
		if i%2 == 0 {
			first.UserID = person
			joined = append(joined, p)
		}
		ok(t, s.CreateProject(ctx, p, first, record(p.ID)))
		projects, mine[p.ID] = append(projects, p), true
	}
	order := func(p engine.Project) engine.Cursor { return engine.Cursor{Time: p.CreatedAt, ID: p.ID} }

	all := func(page engine.Page) ([]engine.Project, string, error) { return s.Projects(ctx, "", page) }
	lists(t, only(all, func(p engine.Project) bool { return mine[p.ID] }), newestFirst(projects, order))
	of := func(page engine.Page) ([]engine.Project, string, error) { return s.Projects(ctx, person, page) }
	lists(t, of, newestFirst(joined, order))

	gone := joined[0]
	ok(t, s.RemoveMember(ctx, gone.ID, person, noon, record(gone.ID)))
	lists(t, of, newestFirst(joined[1:], order))
	nobody := func(page engine.Page) ([]engine.Project, string, error) { return s.Projects(ctx, "user_nobody", page) }
	lists(t, nobody, nil)
}

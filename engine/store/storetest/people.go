package storetest

import (
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var peopleContracts = []contract{
	{"user", user},
	{"user taken", userTaken},
	{"user listing", userListing},
	{"user changed", userChanged},
	{"member", member},
	{"member listing", memberListing},
	{"api key", apiKey},
	{"api key taken", apiKeyTaken},
	{"api key revoked", apiKeyRevoked},
	{"api key listing", apiKeyListing},
}

func newUser() engine.User {
	id := engine.NewID("user")
	return engine.User{
		ID: id, Username: "name_" + id, Name: "Zoë", Email: "zoe@example.com", PasswordHash: "$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA",
		SystemAdmin: true, CreatedAt: noon,
	}
}

func newAPIKey(projectID string) engine.APIKey {
	_, digest := engine.NewAPIKeySecret()
	return engine.APIKey{
		ID: engine.NewID("key"), ProjectID: projectID, OwnerID: "user_alice", Name: "CI", Role: engine.RoleOperator,
		SecretDigest: digest, CreatedAt: noon, ExpiresAt: noon.Add(time.Hour),
		MadeBy: []string{"key_first", "key_second"}, MemberSince: noon.Add(-time.Hour), OwnerLosses: engine.Losses{Disablings: 2, Withdrawals: 1},
	}
}

func user(t *testing.T, s engine.Store) {
	ctx, u, chain := t.Context(), newUser(), engine.NewID("prj")
	_, err := s.User(ctx, u.ID)
	refused(t, err, engine.CodeNotFound)
	_, err = s.UserByName(ctx, u.Username)
	refused(t, err, engine.CodeNotFound)

	rec := record(chain)
	ok(t, s.CreateUser(ctx, u, rec))
	same(t, get[engine.User](t)(s.User(ctx, u.ID)), u)
	same(t, get[engine.User](t)(s.UserByName(ctx, u.Username)), u)
	onRecord(t, s, chain, rec)
}

func userTaken(t *testing.T, s engine.Store) {
	ctx, u, chain := t.Context(), newUser(), engine.NewID("prj")
	ok(t, s.CreateUser(ctx, u, record(engine.SystemChain)))

	sameID, sameName := newUser(), newUser()
	sameID.ID, sameName.Username = u.ID, u.Username
	refused(t, s.CreateUser(ctx, sameID, record(chain)), engine.CodeExists)
	refused(t, s.CreateUser(ctx, sameName, record(chain)), engine.CodeExists)
	same(t, get[engine.User](t)(s.User(ctx, u.ID)), u)
	_, err := s.User(ctx, sameName.ID)
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, chain)
}

func userListing(t *testing.T, s engine.Store) {
	var users []engine.User
	mine := map[string]bool{}
	for _, at := range times {
		u := newUser()
		u.CreatedAt = at
		ok(t, s.CreateUser(t.Context(), u, record(engine.SystemChain)))
		users, mine[u.ID] = append(users, u), true
	}
	all := func(page engine.Page) ([]engine.User, string, error) { return s.Users(t.Context(), page) }
	lists(t, only(all, func(u engine.User) bool { return mine[u.ID] }),
		newestFirst(users, func(u engine.User) engine.Cursor { return engine.Cursor{Time: u.CreatedAt, ID: u.ID} }))
}

func userChanged(t *testing.T, s engine.Store) {
	ctx, u, other, chain := t.Context(), newUser(), newUser(), engine.NewID("prj")
	copied, copies := engine.NewID("prj"), []engine.Record{}
	hash, yes, no, two := "$argon2id$another", true, false, 2
	refused(t, s.ChangeUser(ctx, u.ID, engine.UserChange{PasswordHash: &hash}, record(chain)), engine.CodeNotFound)
	recs := []engine.Record{record(chain)}
	ok(t, s.CreateUser(ctx, u, recs[0]))
	ok(t, s.CreateUser(ctx, other, record(engine.SystemChain)))
	for _, step := range []struct {
		change engine.UserChange
		expect func()
	}{
		{engine.UserChange{PasswordHash: &hash, PasswordSetByOther: true}, func() { u.PasswordHash, u.PasswordSetByOther = hash, true }},
		{engine.UserChange{Disabled: &yes, SignOut: true}, func() { u.Disabled, u.Losses.Disablings, u.Epoch = true, 1, 1 }},
		{engine.UserChange{SystemAdmin: &no}, func() { u.SystemAdmin, u.Losses.Withdrawals = false, 1 }},
		{engine.UserChange{SystemAdmin: &yes}, func() { u.SystemAdmin = true }},
		{engine.UserChange{PasswordHash: &hash}, func() { u.PasswordSetByOther = false }},
		{engine.UserChange{SignOut: true}, func() { u.Epoch = 2 }},
		{engine.UserChange{IfEpoch: &two, Disabled: &no}, func() { u.Disabled = false }},
	} {
		rec := record(chain)
		rec.Copies = []engine.AuditEntry{entry(copied)}
		ok(t, s.ChangeUser(ctx, u.ID, step.change, rec))
		step.expect()
		recs, copies = append(recs, rec), append(copies, engine.Record{Audit: rec.Copies[0]})
		same(t, get[engine.User](t)(s.User(ctx, u.ID)), u)
	}
	past := 1
	refused(t, s.ChangeUser(ctx, u.ID, engine.UserChange{IfEpoch: &past, PasswordHash: new(string), SignOut: true}, record(chain)), engine.CodeConflict)
	refused(t, s.ChangeUser(ctx, "nobody", engine.UserChange{IfEpoch: &past, SignOut: true}, record(chain)), engine.CodeNotFound)
	same(t, get[engine.User](t)(s.UserByName(ctx, u.Username)), u)
	same(t, get[engine.User](t)(s.User(ctx, other.ID)), other)
	onRecord(t, s, chain, recs...)
	onRecord(t, s, copied, copies...)
}

func member(t *testing.T, s engine.Store) {
	ctx, p, other := t.Context(), storedProject(t, s), storedProject(t, s)
	m := newMember(p.ID, "user_bob")
	_, err := s.Member(ctx, p.ID, "user_bob")
	refused(t, err, engine.CodeNotFound)
	refused(t, s.RemoveMember(ctx, p.ID, "user_bob", noon.Add(2*time.Hour), record(p.ID)), engine.CodeNotFound)

	added, changed, removed := record(p.ID), record(p.ID), record(p.ID)
	ok(t, s.SetMember(ctx, m, added))
	same(t, get[engine.Member](t)(s.Member(ctx, p.ID, "user_bob")), m)
	_, err = s.Member(ctx, other.ID, "user_bob")
	refused(t, err, engine.CodeNotFound)

	// Only the role is replaced: they are a member since they first were.
	again := m
	again.Role, again.CreatedAt = engine.RoleAdmin, noon.Add(time.Hour)
	ok(t, s.SetMember(ctx, again, changed))
	m.Role = engine.RoleAdmin
	same(t, get[engine.Member](t)(s.Member(ctx, p.ID, "user_bob")), m)

	refused(t, s.RemoveMember(ctx, other.ID, "user_bob", noon, record(other.ID)), engine.CodeNotFound)
	ok(t, s.RemoveMember(ctx, p.ID, "user_bob", noon.Add(2*time.Hour), removed))
	_, err = s.Member(ctx, p.ID, "user_bob")
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, p.ID, added, changed, removed)
	onRecord(t, s, other.ID)

	// Who is added again has another membership, which knows when the one before ended.
	ok(t, s.SetMember(ctx, again, record(p.ID)))
	again.FormerUntil = noon.Add(2 * time.Hour)
	same(t, get[engine.Member](t)(s.Member(ctx, p.ID, "user_bob")), again)
	again.Role = engine.RoleViewer
	ok(t, s.SetMember(ctx, engine.Member{ProjectID: p.ID, UserID: "user_bob", Role: engine.RoleViewer, CreatedAt: noon}, record(p.ID)))
	same(t, get[engine.Member](t)(s.Member(ctx, p.ID, "user_bob")), again)
}

func memberListing(t *testing.T, s engine.Store) {
	ctx, p, other := t.Context(), storedProject(t, s), storedProject(t, s)
	members := []engine.Member{newMember(p.ID, "user_alice")}
	for _, at := range times {
		m := newMember(p.ID, engine.NewID("user"))
		m.CreatedAt = at
		ok(t, s.SetMember(ctx, m, record(p.ID)))
		members = append(members, m)
	}
	list := func(page engine.Page) ([]engine.Member, string, error) { return s.Members(ctx, p.ID, page) }
	lists(t, list, newestFirst(members, func(m engine.Member) engine.Cursor { return engine.Cursor{Time: m.CreatedAt, ID: m.UserID} }))
	others := func(page engine.Page) ([]engine.Member, string, error) { return s.Members(ctx, other.ID, page) }
	lists(t, others, []engine.Member{newMember(other.ID, "user_alice")})
}

func apiKey(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	k := newAPIKey(project)
	_, err := s.APIKeyBySecret(ctx, k.SecretDigest)
	refused(t, err, engine.CodeNotFound)
	_, err = s.APIKey(ctx, k.ID)
	refused(t, err, engine.CodeNotFound)

	rec := record(project)
	ok(t, s.CreateAPIKey(ctx, k, rec))
	same(t, get[engine.APIKey](t)(s.APIKeyBySecret(ctx, k.SecretDigest)), k)
	same(t, get[engine.APIKey](t)(s.APIKey(ctx, k.ID)), k)
	onRecord(t, s, project, rec)
}

func apiKeyTaken(t *testing.T, s engine.Store) {
	ctx, project, chain := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	k := newAPIKey(project)
	ok(t, s.CreateAPIKey(ctx, k, record(project)))

	sameID, sameSecret := newAPIKey(project), newAPIKey(project)
	sameID.ID, sameSecret.SecretDigest = k.ID, k.SecretDigest
	sameSecret.Role = engine.RoleAdmin
	refused(t, s.CreateAPIKey(ctx, sameID, record(chain)), engine.CodeExists)
	refused(t, s.CreateAPIKey(ctx, sameSecret, record(chain)), engine.CodeExists)
	same(t, get[engine.APIKey](t)(s.APIKeyBySecret(ctx, k.SecretDigest)), k)
	_, err := s.APIKeyBySecret(ctx, sameID.SecretDigest)
	refused(t, err, engine.CodeNotFound)
	onRecord(t, s, chain)
}

func apiKeyRevoked(t *testing.T, s engine.Store) {
	ctx, project, other := t.Context(), engine.NewID("prj"), engine.NewID("prj")
	k := newAPIKey(project)
	made, revoked := record(project), record(project)
	ok(t, s.CreateAPIKey(ctx, k, made))
	refused(t, s.RevokeAPIKey(ctx, project, engine.NewID("key"), noon, record(project)), engine.CodeNotFound)
	refused(t, s.RevokeAPIKey(ctx, other, k.ID, noon, record(other)), engine.CodeNotFound)

	ok(t, s.RevokeAPIKey(ctx, project, k.ID, noon, revoked))
	k.RevokedAt = noon
	same(t, get[engine.APIKey](t)(s.APIKeyBySecret(ctx, k.SecretDigest)), k)
	onRecord(t, s, project, made, revoked)
	onRecord(t, s, other)

	later := revoked // the same record: the caller was not sure of the answer
	ok(t, s.RevokeAPIKey(ctx, project, k.ID, noon.Add(time.Hour), later))
	same(t, get[engine.APIKey](t)(s.APIKeyBySecret(ctx, k.SecretDigest)), k)
	onRecord(t, s, project, made, revoked)
	list := func(page engine.Page) ([]engine.APIKey, string, error) { return s.APIKeys(ctx, project, page) }
	lists(t, list, []engine.APIKey{k})
}

func apiKeyListing(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	var keys []engine.APIKey
	for _, at := range times {
		k := newAPIKey(project)
		k.CreatedAt = at
		ok(t, s.CreateAPIKey(ctx, k, record(project)))
		keys = append(keys, k)
	}
	ok(t, s.CreateAPIKey(ctx, newAPIKey(engine.NewID("prj")), record(project)))
	list := func(page engine.Page) ([]engine.APIKey, string, error) { return s.APIKeys(ctx, project, page) }
	lists(t, list, newestFirst(keys, func(k engine.APIKey) engine.Cursor { return engine.Cursor{Time: k.CreatedAt, ID: k.ID} }))
}

package storetest

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var sessionContracts = []contract{
	{"session", session},
	{"session touch", sessionTouch},
	{"session touch race", sessionTouchRace},
	{"session purge", sessionPurge},
	{"sessions of a user", sessionsOfUser},
}

func newSession() engine.Session {
	return engine.Session{
		ID: engine.SecretDigest(engine.Secret(engine.NewID("secret"))), UserID: "user_alice", Epoch: 3,
		CreatedAt: noon, SeenAt: noon, ExpiresAt: noon.Add(time.Hour),
	}
}

func session(t *testing.T, s engine.Store) {
	ctx, one, other, chain := t.Context(), newSession(), newSession(), engine.NewID("prj")
	opened, closed := record(chain), record(chain)
	_, err := s.Session(ctx, one.ID)
	refused(t, err, engine.CodeNotFound)
	refused(t, s.EndSession(ctx, one.ID, record(chain)), engine.CodeNotFound)
	ok(t, s.CreateSession(ctx, one, opened))
	ok(t, s.CreateSession(ctx, other, record(engine.SystemChain)))
	taken := one
	taken.UserID = "user_mallory"
	refused(t, s.CreateSession(ctx, taken, record(chain)), engine.CodeExists)
	same(t, get[engine.Session](t)(s.Session(ctx, one.ID)), one)

	ok(t, s.EndSession(ctx, one.ID, closed))
	_, err = s.Session(ctx, one.ID)
	refused(t, err, engine.CodeNotFound)
	refused(t, s.EndSession(ctx, one.ID, record(chain)), engine.CodeNotFound)
	same(t, get[engine.Session](t)(s.Session(ctx, other.ID)), other)
	onRecord(t, s, chain, opened, closed)
}

func sessionTouch(t *testing.T, s engine.Store) {
	ctx, one := t.Context(), newSession()
	ok(t, s.TouchSession(ctx, one.ID, noon)) // there is no such session
	_, err := s.Session(ctx, one.ID)
	refused(t, err, engine.CodeNotFound)
	ok(t, s.CreateSession(ctx, one, record(engine.SystemChain)))
	one.SeenAt = noon.Add(time.Minute)
	ok(t, s.TouchSession(ctx, one.ID, one.SeenAt))
	ok(t, s.TouchSession(ctx, one.ID, noon))
	same(t, get[engine.Session](t)(s.Session(ctx, one.ID)), one)
}

// The latest time stays, in whatever order the calls arrive.
func sessionTouchRace(t *testing.T, s engine.Store) {
	ctx, one := t.Context(), newSession()
	ok(t, s.CreateSession(ctx, one, record(engine.SystemChain)))
	var calls sync.WaitGroup
	var failed [20]error
	for i := range failed {
		calls.Go(func() { failed[i] = s.TouchSession(ctx, one.ID, noon.Add(time.Duration(i*7%20)*time.Minute)) })
	}
	calls.Wait()
	ok(t, errors.Join(failed[:]...))
	one.SeenAt = noon.Add(19 * time.Minute)
	same(t, get[engine.Session](t)(s.Session(ctx, one.ID)), one)
}

func sessionPurge(t *testing.T, s engine.Store) {
	ctx, long := t.Context(), noon.AddDate(-20, 0, 0) // older than those of the other contracts
	var old []engine.Session
	for i := range 3 {
		one := newSession()
		one.ExpiresAt = long.Add(time.Duration(i) * time.Minute)
		ok(t, s.CreateSession(ctx, one, record(engine.SystemChain)))
		old = append(old, one)
	}
	same(t, get[int](t)(s.PurgeSessions(ctx, old[2].ExpiresAt, 1)), 1)
	_, err := s.Session(ctx, old[0].ID)
	refused(t, err, engine.CodeNotFound)
	same(t, get[engine.Session](t)(s.Session(ctx, old[1].ID)), old[1])
	same(t, get[int](t)(s.PurgeSessions(ctx, old[2].ExpiresAt, 10)), 1)
	same(t, get[engine.Session](t)(s.Session(ctx, old[2].ID)), old[2])
}

func sessionsOfUser(t *testing.T, s engine.Store) {
	ctx, user := t.Context(), engine.NewID("user")
	var mine []engine.Session
	for i := range 5 {
		one, other := newSession(), newSession()
		one.UserID, one.Address, one.ExpiresAt = user, "192.0.2.1", noon.Add(time.Duration(3-i/2)*time.Minute) // pairs end at the same time
		ok(t, s.CreateSession(ctx, one, record(engine.SystemChain)))
		ok(t, s.CreateSession(ctx, other, record(engine.SystemChain)))
		mine = append(mine, one)
	}
	slices.SortFunc(mine, func(a, b engine.Session) int {
		return cmp.Or(b.ExpiresAt.Compare(a.ExpiresAt), strings.Compare(b.ID, a.ID))
	})
	ok(t, s.EndSession(ctx, mine[1].ID, record(engine.SystemChain)))
	mine = append(mine[:1], mine[2:]...)
	first, next, err := s.SessionsOf(ctx, user, engine.Page{Limit: 3})
	ok(t, err)
	second, end, err := s.SessionsOf(ctx, user, engine.Page{Limit: 3, Cursor: next})
	ok(t, err)
	same(t, append(first, second...), mine)
	same(t, len(first), 3)
	same(t, end, "")
	none, _, err := s.SessionsOf(ctx, engine.NewID("user"), engine.Page{Limit: 3})
	ok(t, err)
	same(t, len(none), 0)
}

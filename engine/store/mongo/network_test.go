package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// The proxy tests run against FerretDB alone, because the members of a replica set
// announce their own addresses and the driver then bypasses the proxy.
func throughProxy(t *testing.T, options string) (*mongo.Store, *proxy) {
	t.Helper()
	uri, _ := servers[0].database(t)
	uri, p := behindProxy(t, uri+options)
	return open(t, uri), p
}

// If a write or its answer is lost, the store reads what is stored and returns the
// right result.
func TestLostAnswers(t *testing.T) {
	for name, lost := range map[string]fault{"answer": loseAnswer, "question": loseQuestion} {
		t.Run(name, func(t *testing.T) {
			s, p := throughProxy(t, "")
			ctx := t.Context()
			end, rec := newEnd("d0", "prj")
			for _, text := range []string{end.Attempt, rec.Audit.Ref, rec.Event.ID} {
				p.inject(lost, text, 1)
				winner, won, err := s.Settle(ctx, end, rec)
				if err != nil || !won || winner != end {
					t.Fatalf("settled by %s, won %v, %v", winner.Attempt, won, err)
				}
				if text == end.Attempt && p.faultsLeft() > 0 {
					t.Fatal("nothing was lost")
				}
			}
			late, lateRec := newEnd("d0", "prj")
			p.inject(lost, late.Attempt, 1)
			if winner, won, err := s.Settle(ctx, late, lateRec); err != nil || won || winner != end {
				t.Fatalf("settled by %s, won %v, %v", winner.Attempt, won, err)
			}
			policy := engine.Record{Audit: entry("prj")}
			p.inject(lost, "token_ttl_seconds", 1)
			if err := s.AddPolicy(ctx, engine.CertificatePolicy{ProjectID: "prj", Version: 1}, policy); err != nil {
				t.Fatal(err)
			}
			if entries := wholeChain(t, s, "prj"); len(entries) != 2 || entries[0].Ref != rec.Audit.Ref || entries[1].Ref != policy.Audit.Ref {
				t.Fatalf("the audit log contains %+v", entries)
			}
		})
	}
}

// updates are calls that update or delete a document, which before has stored.
var updates = map[string]struct {
	command string // whose answer is lost
	before  func(ctx context.Context, s *mongo.Store) error
	call    func(ctx context.Context, s *mongo.Store, rec engine.Record) error
	changed func(ctx context.Context, s *mongo.Store) bool
}{
	"member set": {commandOn("update", "members"), storedMember, func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
		viewer := member
		viewer.Role = engine.RoleViewer
		return s.SetMember(ctx, viewer, rec)
	}, func(ctx context.Context, s *mongo.Store) bool {
		m, err := s.Member(ctx, "prj", "user_a")
		return err == nil && m.Role == engine.RoleViewer
	}},
	"member removed": {commandOn("update", "members"), storedMember, func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
		return s.RemoveMember(ctx, "prj", "user_a", noon, rec)
	}, func(ctx context.Context, s *mongo.Store) bool {
		_, err := s.Member(ctx, "prj", "user_a")
		return errors.Is(err, engine.CodeNotFound)
	}},
	"password changed": {commandOn("update", "users"), storedUser, changesUser(engine.UserChange{PasswordHash: new("salted"), SignOut: true, IfEpoch: new(0)}),
		func(ctx context.Context, s *mongo.Store) bool {
			u, err := s.User(ctx, "user_a")
			return err == nil && u.PasswordHash == "salted" && u.Epoch == 1
		}},
	"user disabled": {commandOn("update", "users"), storedUser, changesUser(engine.UserChange{Disabled: new(true), SignOut: true, IfEpoch: new(0)}),
		func(ctx context.Context, s *mongo.Store) bool {
			u, err := s.User(ctx, "user_a")
			return err == nil && u.Disabled && u.Epoch == 1 && u.Losses.Disablings == 1
		}},
	"API key revoked": {commandOn("update", "api_keys"), func(ctx context.Context, s *mongo.Store) error {
		return s.CreateAPIKey(ctx, apiKey, engine.Record{Audit: entry("other")})
	}, func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
		return s.RevokeAPIKey(ctx, "prj", "key_a", noon, rec)
	}, func(ctx context.Context, s *mongo.Store) bool {
		k, err := s.APIKey(ctx, "key_a")
		return err == nil && k.RevokedAt.Equal(noon)
	}},
	"session marked":  {commandOn("update", "sessions"), storedSession, endsSession, hasNoSession},
	"session deleted": {commandOn("delete", "sessions"), storedSession, endsSession, hasNoSession},
}

// commandOn is how the messages of a command on a collection begin.
func commandOn(name, collection string) string {
	return fmt.Sprintf("\x02%s\x00%s%s\x00", name, string([]byte{byte(len(collection) + 1), 0, 0, 0}), collection) //nolint:gosec // they are short
}

func storedMember(ctx context.Context, s *mongo.Store) error {
	return s.SetMember(ctx, member, engine.Record{Audit: entry("other")})
}

func storedUser(ctx context.Context, s *mongo.Store) error {
	return s.CreateUser(ctx, engine.User{ID: "user_a", Username: "a"}, engine.Record{Audit: entry("other")})
}

func changesUser(change engine.UserChange) func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
	return func(ctx context.Context, s *mongo.Store, rec engine.Record) error {
		return s.ChangeUser(ctx, "user_a", change, rec)
	}
}

func storedSession(ctx context.Context, s *mongo.Store) error {
	return s.CreateSession(ctx, engine.Session{ID: "session_a", ExpiresAt: noon}, engine.Record{Audit: entry("other")})
}

func endsSession(ctx context.Context, s *mongo.Store, rec engine.Record) error {
	return s.EndSession(ctx, "session_a", rec)
}

func hasNoSession(ctx context.Context, s *mongo.Store) bool {
	_, err := s.Session(ctx, "session_a")
	return errors.Is(err, engine.CodeNotFound)
}

// If an update, or its answer, is lost, the call goes on to its end: the change is stored
// once, and has its audit entry. Of two calls that change the same, the later is refused
// as before.
func TestLostAnswersOfUpdates(t *testing.T) {
	for name, u := range updates {
		for what, lost := range map[string]fault{"answer": loseAnswer, "question": loseQuestion} {
			t.Run(name+", "+what, func(t *testing.T) {
				s, p := throughProxy(t, "")
				ctx, rec := t.Context(), engine.Record{Audit: entry("prj")}
				if err := u.before(ctx, s); err != nil {
					t.Fatal(err)
				}
				p.inject(lost, u.command, 1)
				if err := u.call(ctx, s, rec); err != nil || p.faultsLeft() > 0 {
					t.Fatalf("%v; %d faults are left", err, p.faultsLeft())
				}
				entries := wholeChain(t, s, "prj")
				if !u.changed(ctx, s) || len(entries) != 1 || entries[0].Ref != rec.Audit.Ref {
					t.Fatalf("changed: %v; the audit log contains %+v", u.changed(ctx, s), entries)
				}
			})
		}
	}
}

// While the answer to a call that removes a member is lost, others add the person again,
// and may remove and add them once more: the call does not remove them again, of which
// nothing would be in the audit log.
func TestALostAnswerChangesNothingThatCameAfter(t *testing.T) {
	for name, again := range map[string]int{"added": 1, "added, removed and added": 2} {
		t.Run(name, func(t *testing.T) {
			uri, _ := servers[0].database(t)
			other := open(t, uri)
			uri, p := behindProxy(t, uri)
			s, ctx, rec := open(t, uri), t.Context(), engine.Record{Audit: entry("prj")}
			if err := storedMember(ctx, s); err != nil {
				t.Fatal(err)
			}
			p.after = func() {
				for i := range again {
					if i > 0 {
						if err := other.RemoveMember(ctx, "prj", "user_a", noon.Add(time.Hour), engine.Record{Audit: entry("prj")}); err != nil {
							t.Error(err)
						}
					}
					if err := other.SetMember(ctx, member, engine.Record{Audit: entry("prj")}); err != nil {
						t.Error(err)
					}
				}
			}
			p.inject(loseAnswer, commandOn("update", "members"), 1)
			if err := s.RemoveMember(ctx, "prj", "user_a", noon, rec); err != nil || p.faultsLeft() > 0 {
				t.Fatalf("%v; %d faults are left", err, p.faultsLeft())
			}
			if _, err := s.Member(ctx, "prj", "user_a"); err != nil {
				t.Errorf("who was added again: %v", err)
			}
			if entries := wholeChain(t, s, "prj"); len(entries) != 2*again || entries[0].Ref != rec.Audit.Ref {
				t.Errorf("the audit log contains %+v", entries)
			}
		})
	}
}

// The answer to a batch of audit entries is lost while others wait: each entry is
// stored once, and the chain is complete.
func TestLostAnswerOfABatch(t *testing.T) {
	s, p := throughProxy(t, "")
	if err := s.Append(t.Context(), entry("prj")); err != nil {
		t.Fatal(err)
	}
	p.inject(loseAnswer, "\x02insert\x00", 1)
	errs := make([]error, 24)
	together([]*mongo.Store{s}, len(errs), func(s *mongo.Store, i int) { errs[i] = s.Append(t.Context(), entry("prj")) })
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if entries := wholeChain(t, s, "prj"); len(entries) != 1+len(errs) || p.faultsLeft() > 0 {
		t.Fatalf("%d entries are in the audit log, want %d", len(entries), 1+len(errs))
	}
}

// The settlement is stored but its record cannot be written: the caller gets an
// error, and settling again writes the record.
func TestSettledWithoutAuditEntry(t *testing.T) {
	s, p := throughProxy(t, "")
	end, rec := newEnd("d0", "prj")
	p.inject(loseQuestion, rec.Audit.Ref, -1)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, won, err := s.Settle(ctx, end, rec); !errors.Is(err, engine.CodeAuditUnavailable) || won {
		t.Fatalf("won %v, %v", won, err)
	}
	p.inject(0, "", 0)
	late, lateRec := newEnd("d0", "prj")
	if winner, won, err := s.Settle(t.Context(), late, lateRec); err != nil || won || winner != end {
		t.Fatalf("settled by %s, won %v, %v", winner.Attempt, won, err)
	}
	if _, won, err := s.Settle(t.Context(), end, rec); err != nil || !won {
		t.Fatalf("won %v, %v", won, err)
	}
	if entries := wholeChain(t, s, "prj"); len(entries) != 1 || entries[0].Ref != rec.Audit.Ref {
		t.Fatalf("the audit log contains %+v", entries)
	}
}

// calls has a call of each kind, with the code of its error when the server does not
// answer.
var calls = map[string]struct {
	code engine.Code
	call func(ctx context.Context, s *mongo.Store) error
}{
	"ping": {engine.CodeUnavailable, func(ctx context.Context, s *mongo.Store) error { return s.Ping(ctx) }},
	"read": {engine.CodeUnavailable, func(ctx context.Context, s *mongo.Store) error {
		_, err := s.Token(ctx, "d0")
		return err
	}},
	"list": {engine.CodeUnavailable, func(ctx context.Context, s *mongo.Store) error {
		_, _, err := s.Users(ctx, engine.Page{Limit: 1})
		return err
	}},
	"insert": {engine.CodeUnavailable, func(ctx context.Context, s *mongo.Store) error {
		end, rec := newEnd("d0", "prj")
		_, _, err := s.Settle(ctx, end, rec)
		return err
	}},
	"update": {engine.CodeUnavailable, func(ctx context.Context, s *mongo.Store) error {
		return s.AdvanceRequest(ctx, engine.Transition{Request: engine.Request{ID: "req", Version: 2}})
	}},
	"append": {engine.CodeAuditUnavailable, func(ctx context.Context, s *mongo.Store) error { return s.Append(ctx, entry("prj")) }},
}

// The server is gone, or it accepts connections and never answers: every call ends
// with its context at the latest and returns the right code.
func TestServerDoesNotAnswer(t *testing.T) {
	for name, breakServer := range map[string]func(p *proxy){
		"gone":   func(p *proxy) { p.down() },
		"silent": func(p *proxy) { p.inject(silence, "", -1) },
	} {
		t.Run(name, func(t *testing.T) {
			s, p := throughProxy(t, "connectTimeoutMS=200&serverSelectionTimeoutMS=200&timeoutMS=1000")
			breakServer(p)
			var running sync.WaitGroup
			for name, c := range calls {
				running.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
					defer cancel()
					if err := c.call(ctx, s); engine.CodeOf(err) != c.code {
						t.Errorf("%s gave %v, want %s", name, err, c.code)
					}
					if err := c.call(t.Context(), s); engine.CodeOf(err) != c.code {
						t.Errorf("%s without a deadline gave %v, want %s", name, err, c.code)
					}
				})
			}
			running.Wait()
		})
	}
}

// For every URI, writes wait for the journal of a majority, and reads return what a
// majority has.
func TestConcernsOnTheWire(t *testing.T) {
	s, p := throughProxy(t, "w=1&journal=false&readConcernLevel=local")
	end, rec := newEnd("d0", "prj")
	if _, _, err := s.Settle(t.Context(), end, rec); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Token(t.Context(), "d0"); !errors.Is(err, engine.CodeNotFound) {
		t.Fatal(err)
	}
	if err := s.SetMember(t.Context(), member, engine.Record{Audit: entry("prj")}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PurgeTokens(t.Context(), noon, 1); err != nil {
		t.Fatal(err)
	}
	const majority = "majority\x00"
	for name, wants := range map[string][]string{
		"insert": {"writeConcern\x00", majority, "\x08j\x00\x01"},
		"update": {"writeConcern\x00", majority, "\x08j\x00\x01"},
		"find":   {"readConcern\x00", majority},
	} {
		commands := p.commands(name)
		for _, command := range commands {
			for _, want := range wants {
				if !strings.Contains(command, want) {
					t.Errorf("a command %s was sent without %q: %q", name, want, command)
				}
			}
		}
		if len(commands) == 0 {
			t.Errorf("no command %s was seen", name)
		}
	}
}

// ferretGoroutines belong to FerretDB in this process: it keeps databases open, and
// connections for three seconds after their end.
var ferretGoroutines = []goleak.Option{
	goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"),
	goleak.IgnoreAnyFunction("github.com/FerretDB/FerretDB/internal/util/ctxutil.WithDelay.func1"),
	goleak.IgnoreAnyFunction("github.com/FerretDB/FerretDB/internal/clientconn.(*conn).run"),
	goleak.IgnoreAnyFunction("github.com/FerretDB/FerretDB/internal/clientconn.(*conn).run.func2"),
}

// Close waits for running writes: every acknowledged entry is stored, and no
// goroutine of the store is left.
func TestCloseDrains(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		uri, _ := s.database(t)
		before := goleak.IgnoreCurrent()
		store, err := mongo.Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 65)
		together([]*mongo.Store{store}, len(errs), func(store *mongo.Store, i int) {
			if i == 32 {
				errs[i] = store.Close()
				return
			}
			errs[i] = store.Append(t.Context(), entry("prj"))
		})
		acknowledged := 0
		for i, err := range errs {
			switch code := engine.CodeOf(err); {
			case err == nil && i != 32:
				acknowledged++
			case err != nil && code != engine.CodeUnavailable:
				t.Errorf("call %d: %v", i, err)
			}
		}
		if err := store.Append(t.Context(), entry("prj")); !errors.Is(err, engine.CodeUnavailable) {
			t.Errorf("an entry after the end gave %v", err)
		}
		goleak.VerifyNone(t, append(ferretGoroutines, before)...)
		if entries := wholeChain(t, open(t, uri), "prj"); len(entries) != acknowledged {
			t.Errorf("%d entries are stored, %d were acknowledged", len(entries), acknowledged)
		}
	})
}

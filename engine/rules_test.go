package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRolesIncludeThoseBelow(t *testing.T) {
	order := []Role{"", RoleViewer, RoleOperator, RoleApprover, RoleAdmin}
	for i, a := range order {
		for j, b := range order {
			if got := a.Includes(b); got != (i >= j) {
				t.Errorf("%q includes %q = %v", a, b, got)
			}
			if got, want := a.Min(b), order[min(i, j)]; got != want {
				t.Errorf("lower of %q and %q = %q, want %q", a, b, got, want)
			}
		}
	}
	if Role("owner").Valid() || Role("owner").Includes(RoleViewer) {
		t.Error("an unknown role permits something")
	}
}

func TestAKeyNeverExceedsItsOwner(t *testing.T) {
	key := &APIKey{ProjectID: "p", Role: RoleApprover}
	for _, c := range []struct {
		name   string
		p      Principal
		member Role
		want   Role
	}{
		{"person", Principal{}, RoleOperator, RoleOperator},
		{"unauthenticated", Principal{}, "", ""},
		{"system administrator", Principal{User: User{SystemAdmin: true}}, "", RoleAdmin},
		{"key of an admin", Principal{Key: key}, RoleAdmin, RoleApprover},
		{"key of a viewer", Principal{Key: key}, RoleViewer, RoleViewer},
		{"key of a former member", Principal{Key: key}, "", ""},
		{"key of a system administrator", Principal{User: User{SystemAdmin: true}, Key: key}, "", RoleApprover},
		{"key of another project", Principal{User: User{SystemAdmin: true}, Key: &APIKey{ProjectID: "q", Role: RoleAdmin}}, RoleAdmin, ""},
	} {
		if got := c.p.RoleIn("p", Member{Role: c.member}); got != c.want {
			t.Errorf("%s: role %q, want %q", c.name, got, c.want)
		}
	}
	if (Principal{User: User{SystemAdmin: true}, Key: key}).IsSystemAdmin() {
		t.Error("a key that was cut down administers the system")
	}
}

func TestRequestsMoveForwardOnly(t *testing.T) {
	all := []Status{StatusPendingApproval, StatusApproved, StatusIssued, StatusConsumed, StatusDenied, StatusExpired, StatusCancelled, StatusRevoked}
	for _, from := range all {
		if !from.Valid() {
			t.Errorf("%s is no state", from)
		}
		for _, to := range all {
			if from.Ended() && from.CanBecome(to) {
				t.Errorf("%s has ended but may become %s", from, to)
			}
		}
	}
	for _, c := range [][2]Status{
		{StatusPendingApproval, StatusApproved}, {StatusApproved, StatusIssued}, {StatusIssued, StatusConsumed},
		{StatusIssued, StatusExpired}, {StatusIssued, StatusRevoked}, {"", StatusDenied}, {"", StatusIssued},
	} {
		if !c[0].CanBecome(c[1]) {
			t.Errorf("%q may not become %q", c[0], c[1])
		}
	}
	if StatusPendingApproval.CanBecome(StatusIssued) || Status("").CanBecome(StatusConsumed) || Status("").Valid() || Status("lost").Valid() {
		t.Error("a step can be skipped")
	}
}

func TestPolicyBounds(t *testing.T) {
	if err := DefaultPolicy("p").Validate(); err != nil {
		t.Fatalf("the default policy is out of bounds: %v", err)
	}
	for name, change := range map[string]func(*CertificatePolicy){
		"approval.mode":                 func(p *CertificatePolicy) { p.Approval.Mode = "sometimes" },
		"approval.required_approvals":   func(p *CertificatePolicy) { p.Approval.RequiredApprovals = 0 },
		"approval.ttl_seconds":          func(p *CertificatePolicy) { p.Approval.TTLSeconds = MaxApprovalTTL + 1 },
		"approval.claim_window_seconds": func(p *CertificatePolicy) { p.Approval.ClaimWindowSeconds = -1 },
		"token_ttl_seconds":             func(p *CertificatePolicy) { p.TokenTTLSeconds = MaxTokenTTL + 1 },
		"min_passphrase_length":         func(p *CertificatePolicy) { p.MinPassphraseLength = 0 },
	} {
		p := DefaultPolicy("p")
		change(&p)
		if err := p.Validate(); !errors.Is(err, CodeInvalidPolicy) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s out of bounds: %v", name, err)
		}
	}
}

func TestTokenLife(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	token := Token{ExpiresAt: at}
	for _, c := range []struct {
		now  time.Time
		dead bool
	}{{at.Add(-time.Millisecond), false}, {at, true}, {at.Add(time.Millisecond), true}} {
		if got := token.Expired(c.now); got != c.dead {
			t.Errorf("%v from its end: expired = %v", c.now.Sub(at), got)
		}
	}
}

func TestPagesBeforeATime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC)
	cursor := func(t time.Time, id string) string { return Cursor{Time: t, ID: id}.String() }
	for name, c := range map[string]struct {
		cursor string
		before time.Time
		want   string
	}{
		"no time":               {"", time.Time{}, ""},
		"no time, later page":   {cursor(at, "a"), time.Time{}, cursor(at, "a")},
		"first page":            {"", at, cursor(at, "")},
		"within a millisecond":  {"", at.Add(1), cursor(at.Add(time.Millisecond), "")},
		"in another zone":       {"", at.In(time.FixedZone("", 3600)), cursor(at, "")},
		"later page":            {cursor(at.Add(-1), "a"), at, cursor(at.Add(-1), "a")},
		"page of another query": {cursor(at, "a"), at, cursor(at, "")},
	} {
		p, err := Page{Limit: 7, Cursor: c.cursor}.Before(c.before)
		if err != nil || p.Limit != 7 || p.Cursor != c.want {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	if _, err := (Page{Cursor: "no cursor!"}).Before(at); !errors.Is(err, CodeInvalidRequest) {
		t.Errorf("a foreign cursor gave %v", err)
	}
	for _, strange := range []time.Time{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if _, err := (Page{}).Before(strange); !errors.Is(err, CodeInvalidRequest) {
			t.Errorf("%s gave %v", strange, err)
		}
	}
}

// directory is a store that fails to read people.
type directory struct {
	Store
	broken error
}

func (d directory) User(context.Context, string) (User, error) { return User{}, d.broken }

// A store that does not answer is not taken for a person without rights.
func TestRightsThatCannotBeReadAreNoRefusal(t *testing.T) {
	store := directory{broken: errors.New("no answer")}
	by := Actor{ID: "ann", Person: "ann"}
	if _, err := presentRole(t.Context(), store, "p", by, time.Now()); !errors.Is(err, store.broken) || CodeOf(err) != "" {
		t.Errorf("the requester: %v", err)
	}
	votes := []Vote{{Actor: by, Decision: DecisionApprove}}
	if _, err := countVotes(t.Context(), store, "p", Actor{Person: "bob"}, votes); !errors.Is(err, store.broken) || CodeOf(err) != "" {
		t.Errorf("the votes: %v", err)
	}
}

func TestOnlyTheTokenOpensThePassphrase(t *testing.T) {
	token, passphrase := NewToken(), Secret("correct horse")
	if len(token) != 43 || NewToken() == token {
		t.Fatalf("token %q has not 256 fresh bits", token.Reveal())
	}
	sealed, err := passphrase.SealWithToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte(passphrase)) {
		t.Error("the passphrase is in the sealed text")
	}
	if got, err := OpenWithToken(token, sealed); err != nil || got != passphrase {
		t.Errorf("opened %q: %v", got.Reveal(), err)
	}
	if _, err := OpenWithToken(NewToken(), sealed); err == nil {
		t.Error("another token opens it")
	}
	sealed[0] ^= 1
	if _, err := OpenWithToken(token, sealed); err == nil {
		t.Error("a changed text opens")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := Secret("hunter2")
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "inside", struct{ S Secret }{s})
	encoded, err := json.Marshal(map[string]any{"s": s})
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%s %v %+v %#v %q %x", s, s, struct{ S Secret }{s}, s, s, s) + log.String() + string(encoded)
	if strings.Contains(printed, "hunter2") || strings.Contains(printed, "68756e74657232") {
		t.Errorf("the secret was printed: %s", printed)
	}
}

func TestPassphraseFacts(t *testing.T) {
	for text, want := range map[string]PassphraseFacts{
		"":          {0, true},
		"a b~":      {4, true},
		"tab\t":     {4, false},
		"caf\u00e9": {5, false},
	} {
		if got := PassphraseFactsOf(Secret(text)); got != want {
			t.Errorf("facts of %q: %+v, want %+v", text, got, want)
		}
	}
}

func TestIdempotencyIDsAreScoped(t *testing.T) {
	ids := map[string]bool{}
	for _, scope := range [][4]string{
		{"p", "u", "c", "k"}, {"p2", "u", "c", "k"}, {"p", "u2", "c", "k"}, {"p", "u", "c2", "k"}, {"p", "u", "c", "k2"}, {"p", "uc", "", "k"},
	} {
		ids[idempotencyID(scope[0], scope[1], scope[2], scope[3])] = true
	}
	if len(ids) != 6 {
		t.Errorf("scopes share an id: %d of 6 differ", len(ids))
	}
	if successorID("i", "") == successorID("i", "req_1") || successorID("i", "") != successorID("i", "") {
		t.Error("a request's id does not follow from the key and the request before")
	}
}

// TestAnExpiredApprovalAnswersAsBeforeItsTimer compares the moment at which a pending
// approval is over with the time after its workflow has recorded that.
func TestAnExpiredApprovalAnswersAsBeforeItsTimer(t *testing.T) {
	end := time.Unix(1000, 0)
	a := Approval{
		Requester: Actor{Person: "requester"}, ExpiresAt: end,
		Decisions: []Vote{{Actor: Actor{Person: "voter"}, Decision: DecisionApprove}},
	}
	for person, want := range map[string]Code{"requester": CodeSelfApproval, "voter": CodeAlreadyDecided, "other": CodeNotPending} {
		for _, status := range []ApprovalStatus{ApprovalPending, ApprovalExpired} {
			a.Status = status
			if err := a.checkOpen(Actor{Person: person}, end); CodeOf(err) != want {
				t.Errorf("a vote of the %s while the approval is %s and over: %v, want %s", person, status, err, want)
			}
		}
	}
}

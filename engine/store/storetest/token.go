package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var tokenContracts = []contract{
	{"settle", tokenSettle},
	{"settle again", tokenSettleAgain},
	{"settle after the settlement was deleted", tokenSettleDeleted},
	{"settle race", tokenSettleRace},
	{"settle kinds race", tokenKindsRace},
	{"settle and cancel", tokenSettleCancelled},
	{"listing", tokenListing},
	{"retention", tokenRetention},
}

func newToken(projectID, requestID string) engine.Token {
	return engine.Token{
		Digest: engine.SecretDigest(engine.NewToken()), RequestID: requestID, ProjectID: projectID, CertificateID: "cert_a",
		Requester: robot, Format: "pkcs12", Options: `{"legacy":true}`, ContainsKey: true, ApprovalID: "apr_a", BindIP: "192.0.2.7",
		SealedPassphrase: []byte{0, 255, 1}, IssuedAt: noon, ExpiresAt: noon.Add(5 * time.Minute),
	}
}

// newSettlement is a settlement of a token, with a record that no other has.
func newSettlement(token engine.Token, kind engine.SettleKind) (engine.Settlement, engine.Record) {
	s := engine.Settlement{
		Digest: token.Digest, Kind: kind, Attempt: engine.NewID("try"), RequestID: token.RequestID, ProjectID: token.ProjectID,
		Actor: robot, IP: "198.51.100.9", UserAgent: "wget", Format: token.Format,
		FileSHA256: "00ff", FileSize: 1234, Time: noon.Add(time.Minute),
	}
	rec := record(token.ProjectID)
	rec.Audit.RequestID, rec.Audit.Detail = token.RequestID, map[string]string{"attempt": s.Attempt}
	rec.Event = event(token.ProjectID, token.CertificateID)
	rec.Event.RequestID = token.RequestID
	return s, rec
}

// storedToken stores a token with a request of its own.
func storedToken(t *testing.T, s engine.Store, token engine.Token) engine.Token {
	t.Helper()
	r := newRequest(token.ProjectID)
	r.ID, r.TokenDigest = token.RequestID, token.Digest
	_, err := s.OpenRequest(t.Context(), engine.Transition{Request: r, Token: &token})
	ok(t, err)
	return token
}

func tokenSettle(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	token := newToken(project, engine.NewID("req"))
	_, err := s.Token(ctx, token.Digest)
	refused(t, err, engine.CodeNotFound)
	storedToken(t, s, token)
	same(t, get[engine.TokenRecord](t)(s.Token(ctx, token.Digest)), engine.TokenRecord{Token: token})

	settlement, rec := newSettlement(token, engine.Consumed)
	winner, won, err := s.Settle(ctx, settlement, rec)
	ok(t, err)
	if !won {
		t.Fatal("the only settlement did not win")
	}
	same(t, winner, settlement)
	same(t, get[engine.TokenRecord](t)(s.Token(ctx, token.Digest)), engine.TokenRecord{Token: token, Settlement: &settlement})
	onRecord(t, s, project, rec)
	lists(t, timeline(t, s, project, token.CertificateID), []engine.Event{*rec.Event})
	_, err = s.Token(ctx, token.Digest+"/end")
	refused(t, err, engine.CodeNotFound)
}

func tokenSettleAgain(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	token := storedToken(t, s, newToken(project, engine.NewID("req")))
	first, firstRec := newSettlement(token, engine.Revoked)
	late, lateRec := newSettlement(token, engine.Consumed)
	for _, step := range []struct {
		settlement engine.Settlement
		rec        engine.Record
		won        bool
	}{{first, firstRec, true}, {late, lateRec, false}, {first, firstRec, true}, {late, lateRec, false}} {
		winner, won, err := s.Settle(ctx, step.settlement, step.rec)
		ok(t, err)
		same(t, winner, first)
		if won != step.won {
			t.Fatalf("attempt %s won: %v", step.settlement.Attempt, won)
		}
	}
	onRecord(t, s, project, firstRec)
	lists(t, timeline(t, s, project, token.CertificateID), []engine.Event{*firstRec.Event})
}

func tokenSettleRace(t *testing.T, s engine.Store) {
	for range 3 {
		raceToSettle(t, s, 64, engine.Consumed)
	}
}

func tokenKindsRace(t *testing.T, s engine.Store) {
	for range 3 {
		raceToSettle(t, s, 24, engine.Consumed, engine.Revoked, engine.Expired)
	}
}

// raceToSettle lets callers settle one token at once with different kinds: one wins,
// all get the same winner, and only the winner is recorded.
func raceToSettle(t *testing.T, s engine.Store, callers int, kinds ...engine.SettleKind) {
	t.Helper()
	project := engine.NewID("prj")
	token := storedToken(t, s, newToken(project, engine.NewID("req")))
	type answer struct {
		tried, winner engine.Settlement
		rec           engine.Record
		won           bool
		err           error
	}
	answers := together(callers, func(i int) (a answer) {
		a.tried, a.rec = newSettlement(token, kinds[i%len(kinds)])
		a.winner, a.won, a.err = s.Settle(t.Context(), a.tried, a.rec)
		return a
	})
	var winners []answer
	for _, a := range answers {
		ok(t, a.err)
		if a.won {
			winners = append(winners, a)
		}
	}
	if len(winners) != 1 {
		t.Fatalf("%d callers won, want 1", len(winners))
	}
	for _, a := range answers {
		same(t, a.winner, winners[0].tried)
	}
	same(t, get[engine.TokenRecord](t)(s.Token(t.Context(), token.Digest)), engine.TokenRecord{Token: token, Settlement: &winners[0].tried})
	onRecord(t, s, project, winners[0].rec)
	lists(t, timeline(t, s, project, token.CertificateID), []engine.Event{*winners[0].rec.Event})
}

// A caller whose context ended does not know whether the settlement was stored.
// Settling again wins, with one complete record.
func tokenSettleCancelled(t *testing.T, s engine.Store) {
	project := engine.NewID("prj")
	token := storedToken(t, s, newToken(project, engine.NewID("req")))
	gone, leave := context.WithCancel(t.Context())
	leave()
	settlement, rec := newSettlement(token, engine.Consumed)
	if _, _, err := s.Settle(gone, settlement, rec); err == nil {
		t.Fatal("a cancelled call succeeded")
	}
	winner, won, err := s.Settle(t.Context(), settlement, rec)
	ok(t, err)
	same(t, winner, settlement)
	if !won {
		t.Fatal("the settlement lost against itself")
	}
	onRecord(t, s, project, rec)
}

func tokenListing(t *testing.T, s engine.Store) {
	project := engine.NewID("prj")
	var issued []engine.TokenRecord
	for i, at := range times {
		token := newToken(project, engine.NewID("req"))
		token.IssuedAt = at
		stored := engine.TokenRecord{Token: storedToken(t, s, token)}
		if i%2 == 0 {
			settlement, rec := newSettlement(token, engine.Expired)
			_, _, err := s.Settle(t.Context(), settlement, rec)
			ok(t, err)
			stored.Settlement = &settlement
		}
		issued = append(issued, stored)
	}
	other := storedToken(t, s, newToken(engine.NewID("prj"), engine.NewID("req")))
	list := func(id string) lister[engine.TokenRecord] {
		return func(page engine.Page) ([]engine.TokenRecord, string, error) { return s.Tokens(t.Context(), id, page) }
	}
	lists(t, list(project), newestFirst(issued, func(r engine.TokenRecord) engine.Cursor {
		return engine.Cursor{Time: r.IssuedAt, ID: r.Digest}
	}))
	lists(t, list(other.ProjectID), []engine.TokenRecord{{Token: other}})
}

func tokenRetention(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	past := noon.AddDate(-1, 0, 0)
	issue := func(expires time.Time, settle bool) engine.Token {
		token := newToken(project, engine.NewID("req"))
		token.ExpiresAt = expires
		storedToken(t, s, token)
		if settle {
			settlement, rec := newSettlement(token, engine.Consumed)
			_, _, err := s.Settle(ctx, settlement, rec)
			ok(t, err)
		}
		return token
	}
	old := map[string]bool{}
	for range 5 {
		old[issue(past.Add(-time.Millisecond), true).Digest] = true
	}
	unsettled, onTime := issue(past.Add(-time.Hour), false), issue(past, true)

	for _, want := range []int{2, 2, 1, 0} {
		if n := get[int](t)(s.PurgeTokens(ctx, past, 2)); n != want {
			t.Fatalf("%d tokens were purged, want %d", n, want)
		}
	}
	for digest := range old {
		_, err := s.Token(ctx, digest)
		refused(t, err, engine.CodeNotFound)
	}
	get[engine.TokenRecord](t)(s.Token(ctx, unsettled.Digest))
	if get[engine.TokenRecord](t)(s.Token(ctx, onTime.Digest)).Settlement == nil {
		t.Fatal("a settlement was purged before its time")
	}
	list := func(page engine.Page) ([]engine.TokenRecord, string, error) { return s.Tokens(ctx, project, page) }
	if left := walk(t, list, 10); len(left) != 2 {
		t.Fatalf("%d tokens are left, want 2", len(left))
	}
	if n := len(chain(t, s, project)); n != 6 {
		t.Fatalf("%d entries are in the audit log, want all 6", n)
	}
}

// A settlement that is gone, although its entry is in the audit log, cannot be
// made again.
func tokenSettleDeleted(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	token := storedToken(t, s, newToken(project, engine.NewID("req")))
	before, rec := newSettlement(token, engine.Consumed)
	_, _, err := s.Settle(ctx, before, rec)
	ok(t, err)
	for n := 1; n > 0; n = get[int](t)(s.PurgeTokens(ctx, token.ExpiresAt.Add(time.Hour), 100)) {
	}
	again, late := newSettlement(token, engine.Consumed)
	late.Audit.Ref = rec.Audit.Ref // it follows from the token
	_, won, err := s.Settle(ctx, again, late)
	if refused(t, err, engine.CodeConflict); won {
		t.Fatal("the token was settled twice")
	}
	onRecord(t, s, project, rec)
}

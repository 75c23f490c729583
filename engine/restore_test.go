package engine_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/policies"
)

// shop is a project with requests in every state, on the database of a node.
type shop struct {
	*node
	now         time.Time
	admin       *engine.Admin
	transitions *engine.Transitions
	downloads   *engine.Downloads
	requester   engine.Caller
	approver    engine.Caller
	certificate engine.Certificate
	minted      map[string]engine.Minted
}

// steps takes each step of a request at once, as its workflow does; its server hears
// nothing of the ends of tokens.
type steps struct{ *engine.Transitions }

func (s steps) Start(ctx context.Context, in engine.WorkflowInput) (engine.Request, error) {
	return s.EvaluatePolicy(ctx, in)
}
func (steps) ReportSettlement(engine.SettlementReport) {}
func (steps) ReportReuse(engine.Token)                 {}
func (steps) PendingReport(string) (engine.SettlementReport, bool) {
	return engine.SettlementReport{}, false
}

// leaf is the format of a file that is the certificate.
type leaf struct{}

func (leaf) Formats() []engine.Format { return []engine.Format{{ID: "der", Filename: "cert.der"}} }
func (l leaf) Format(name string) (engine.Format, bool) {
	return l.Formats()[0], name == "der"
}
func (leaf) CheckOptions(string, map[string]any) (string, error) { return "{}", nil }
func (leaf) Render(_ context.Context, job engine.RenderJob) ([]byte, error) {
	return job.Leaf, nil
}

// on puts the services on a node, as a start of the server does.
func (s *shop) on(n *node) {
	t := n.t
	rules, err := policies.New(t.Context())
	ok(t, err)
	clock, log := func() time.Time { return s.now }, slog.New(slog.DiscardHandler)
	n.Clock, s.node = clock, n
	s.admin = &engine.Admin{Store: n.Store, Clock: clock}
	s.transitions = &engine.Transitions{Store: n.Store, Policy: rules, Clock: clock, Log: log, Reports: steps{}}
	s.downloads = &engine.Downloads{
		Store: n.Store, Formats: leaf{}, Policy: rules, Workflows: steps{s.transitions}, Clock: clock, Log: log,
		Refusals: &engine.Refusals{Store: n.Store, Clock: clock, Log: log}, Limits: engine.MintLimits{LiveTokens: 100, WaitingRequests: 100},
	}
}

func newShop(n *node) *shop {
	t, ctx := n.t, n.t.Context()
	s := &shop{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), minted: map[string]engine.Minted{}}
	s.on(n)
	person := func(name string) engine.Caller {
		u, err := s.admin.CreateUser(ctx, engine.Caller{}, engine.User{Username: name, SystemAdmin: true}, "")
		ok(t, err)
		return engine.Caller{Principal: engine.Principal{User: u}, Role: engine.RoleAdmin}
	}
	s.requester, s.approver = person("ann"), person("bob")
	project, err := s.admin.CreateProject(ctx, s.requester, "Payments")
	ok(t, err)
	s.requester.Project, s.approver.Project = project, project
	public, private, err := ed25519.GenerateKey(nil)
	ok(t, err)
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{}, public, private)
	ok(t, err)
	parsed, err := x509.ParseCertificate(der)
	ok(t, err)
	s.certificate, err = s.admin.Import(ctx, s.requester, "www", engine.Bundle{Leaf: parsed})
	ok(t, err)
	return s
}

func (s *shop) policy(mode engine.ApprovalMode) {
	p := engine.DefaultPolicy("")
	p.Approval.Mode, p.TokenTTLSeconds = mode, 600
	_, err := s.admin.SetPolicy(s.t.Context(), s.requester, p, "")
	ok(s.t, err)
}

func (s *shop) mint(name string, seconds int) {
	minted, err := s.downloads.Mint(s.t.Context(), s.requester, engine.MintParams{Certificate: s.certificate, Format: "der", TTLSeconds: &seconds})
	ok(s.t, err)
	s.minted[name] = minted
}

func (s *shop) approve(name string) {
	ctx, m := s.t.Context(), s.minted[name]
	approval, err := s.downloads.Store.Approval(ctx, m.Request.ProjectID, m.Request.ApprovalID)
	ok(s.t, err)
	_, err = s.downloads.Vote(ctx, s.approver, approval, engine.DecisionApprove, "because")
	ok(s.t, err)
}

func (s *shop) claim(name string) error {
	m, err := s.downloads.Claim(s.t.Context(), s.requester, s.request(name), "")
	if err == nil {
		s.minted[name] = m
	}
	return err
}

func (s *shop) redeem(name string) error {
	_, err := s.downloads.Redeem(s.t.Context(), engine.RedeemRequest{Token: s.minted[name].Token})
	return err
}

func (s *shop) request(name string) engine.Request {
	s.t.Helper()
	r, err := s.Store.Request(s.t.Context(), s.requester.Project.ID, s.minted[name].Request.ID)
	ok(s.t, err)
	return r
}

// fill makes a request in each state.
func (s *shop) fill() {
	s.policy(engine.ApprovalAll)
	s.mint("approval expired", 600)
	s.now = s.now.Add(24*time.Hour + time.Second)
	for _, name := range []string{"claimed and expired", "pending", "approved", "claimed"} {
		s.mint(name, 600)
	}
	for _, name := range []string{"claimed and expired", "approved", "claimed"} {
		s.approve(name)
	}
	ok(s.t, s.claim("claimed and expired"))
	s.now = s.now.Add(600 * time.Second)
	ok(s.t, s.claim("claimed"))
	s.policy(engine.ApprovalOff)
	for _, name := range []string{"live", "live as well", "consumed", "consumed, and not reported", "expired"} {
		s.mint(name, map[bool]int{true: 1, false: 600}[name == "expired"])
	}
	ok(s.t, s.redeem("consumed"))
	ok(s.t, s.redeem("consumed, and not reported"))
	of := s.minted["consumed"].Request
	_, err := s.transitions.RecordSettlement(s.t.Context(), engine.SettlementCheck{
		ProjectID: of.ProjectID, RequestID: of.ID, Report: engine.SettlementReport{RequestID: of.ID, TokenDigest: of.TokenDigest},
	})
	ok(s.t, err)
	s.now = s.now.Add(time.Second)
}

func TestAnAcceptedRestoreEndsWhatCouldBeUsedAgain(t *testing.T) {
	t.Run("at once", func(t *testing.T) { testRestore(t, func(s *shop) { ok(t, s.Check(t.Context(), true)) }) })
	t.Run("interrupted", func(t *testing.T) { testRestore(t, (*shop).acceptInterrupted) })
}

func testRestore(t *testing.T, accept func(*shop)) {
	ctx, place := t.Context(), newPlace(t)
	s := newShop(newNode(t, newDatabase(t), place))
	s.fill()
	backup := filepath.Join(t.TempDir(), "backup.db")
	s.tamper("VACUUM INTO '" + backup + "'")
	ok(t, s.redeem("live")) // since the backup
	lost, err := s.admin.CreateProject(ctx, s.requester, "Made since the backup")
	ok(t, err)
	ok(t, s.Write(ctx))

	s.on(newNode(t, backup, place))
	accept(s)
	ok(t, s.Check(ctx, false))
	if heads := stored(t, place); len(heads) != 2 || heads[s.requester.Project.ID] == 0 || heads[engine.SystemChain] == 0 {
		t.Errorf("the new anchor has %v", heads)
	}
	ok(t, s.Write(ctx))
	s.expectEnds()
	s.expectRecord(lost.ID)
	for _, name := range []string{"live", "live as well", "claimed"} {
		if err := s.redeem(name); !errors.Is(err, engine.CodeTokenRevoked) {
			t.Errorf("the token of %q gives %v", name, err)
		}
	}
	for _, name := range []string{"approved", "claimed", "claimed and expired", "pending", "approval expired"} {
		if err := s.claim(name); !errors.Is(err, engine.CodeNotPending) {
			t.Errorf("a claim of %q gives %v", name, err)
		}
	}
	s.now = s.now.Add(time.Hour)
	verifier := &engine.Verifier{Store: s.Store, Key: auditKey, Clock: s.Clock}
	for _, chain := range []string{s.requester.Project.ID, engine.SystemChain} {
		head, _ := s.Head(chain)
		if v, err := verifier.Verify(ctx, chain, head); err != nil || !v.OK {
			t.Errorf("verification of %s: %+v, %v", chain, v, err)
		}
	}
}

// What was used since the last anchor cannot be seen, so what an operator says counts.
func TestAnAcceptedRestoreEndsWhatWasUsedSinceTheLastAnchor(t *testing.T) {
	ctx, place := t.Context(), newPlace(t)
	s := newShop(newNode(t, newDatabase(t), place))
	s.fill()
	backup := filepath.Join(t.TempDir(), "backup.db")
	s.tamper("VACUUM INTO '" + backup + "'")
	ok(t, s.Write(ctx))
	ok(t, s.redeem("live"))

	s.on(newNode(t, backup, place))
	ok(t, s.Check(ctx, true))
	ok(t, s.Check(ctx, false))
	s.expectEnds()
	for _, name := range []string{"live", "live as well", "claimed"} {
		if err := s.redeem(name); !errors.Is(err, engine.CodeTokenRevoked) {
			t.Errorf("the token of %q gives %v", name, err)
		}
	}
}

func TestABrokenChainOfARestoredDatabaseIsNotAnchored(t *testing.T) {
	place, ctx := newPlace(t), t.Context()
	ok(t, newNode(t, newDatabase(t), place).append(engine.SystemChain, "1", "2").project("prj").append("prj", "2", "3").Write(ctx))
	n := newNode(t, newDatabase(t), place).append(engine.SystemChain, "1").project("prj").append("prj", "2")
	n.tamper("UPDATE audit_logs SET doc = json_set(doc, '$.user_agent', 'other') WHERE project_id = 'prj' AND seq = 1")
	ok(t, n.Check(ctx, true))
	if !strings.Contains(n.log.String(), "chain prj is broken at entry 1") {
		t.Errorf("the log says %s", n.log)
	}
	for _, when := range []string{"after the restore", "later"} {
		expectStored(t, place, when, map[string]int64{engine.SystemChain: 3})
		if err := n.Write(ctx); err == nil || !strings.Contains(err.Error(), "chain prj is broken at entry 1") {
			t.Errorf("%s a broken chain gives %v", when, err)
		}
	}
}

// expectEnds checks how requests and tokens ended, each with one entry.
func (s *shop) expectEnds() {
	for name, want := range map[string]struct {
		status  engine.Status
		settled engine.SettleKind // "" for a request without a token
		actions []string
	}{
		"live":                       {engine.StatusRevoked, engine.Revoked, []string{engine.ActionTokenRevoked}},
		"live as well":               {engine.StatusRevoked, engine.Revoked, []string{engine.ActionTokenRevoked}},
		"claimed":                    {engine.StatusRevoked, engine.Revoked, []string{engine.ActionTokenRevoked}},
		"claimed and expired":        {engine.StatusCancelled, engine.Expired, []string{engine.ActionTokenExpired, engine.ActionDownloadCancelled}},
		"expired":                    {engine.StatusExpired, engine.Expired, []string{engine.ActionTokenExpired}},
		"approved":                   {engine.StatusCancelled, "", []string{engine.ActionDownloadCancelled}},
		"pending":                    {engine.StatusCancelled, "", []string{engine.ActionDownloadCancelled}},
		"consumed":                   {engine.StatusConsumed, engine.Consumed, []string{engine.ActionCertificateDownloaded}},
		"consumed, and not reported": {engine.StatusIssued, engine.Consumed, []string{engine.ActionCertificateDownloaded}}, // its workflow waits for the report
		"approval expired":           {engine.StatusPendingApproval, "", nil},                                              // its workflow ends it
	} {
		r := s.request(name)
		var settled engine.SettleKind
		if r.TokenDigest != "" {
			token, err := s.Store.Token(s.t.Context(), r.TokenDigest)
			ok(s.t, err)
			if token.Settlement != nil {
				settled = token.Settlement.Kind
			}
		}
		if r.Status != want.status || settled != want.settled {
			s.t.Errorf("%q is %s with a token that is %q", name, r.Status, settled)
		}
		ends := map[string]int{}
		for _, e := range s.entries(engine.AuditQuery{ProjectID: r.ProjectID, RequestID: r.ID}) {
			switch e.Action {
			case engine.ActionDownloadRequested, engine.ActionApprovalApproved, engine.ActionTokenIssued:
			default:
				ends[e.Action]++
			}
		}
		expected := map[string]int{}
		for _, action := range want.actions {
			expected[action] = 1
		}
		if fmt.Sprint(ends) != fmt.Sprint(expected) {
			s.t.Errorf("the entries of the end of %q are %v", name, ends)
		}
	}
}

// expectRecord checks what the chains say of the restore, once each.
func (s *shop) expectRecord(lost string) {
	for chain, want := range map[string]map[string]string{
		engine.SystemChain:     {"tokens_revoked": "3", "chains_behind": "2", "projects_lost": lost + " 1:"},
		s.requester.Project.ID: {"tokens_revoked": "3", "anchored": ":", "database": ":", "anchor_time": "2030-01-0"},
	} {
		found := s.entries(engine.AuditQuery{ProjectID: chain, Action: engine.ActionRestoreAccepted})
		if len(found) != 1 || found[0].Actor != engine.System {
			s.t.Fatalf("chain %s has %+v", chain, found)
		}
		for member, text := range want {
			if got := found[0].Detail[member]; !strings.Contains(got, text) {
				s.t.Errorf("in chain %s, %s is %s", chain, member, strconv.Quote(got))
			}
		}
	}
}

func (s *shop) entries(q engine.AuditQuery) []engine.AuditEntry {
	s.t.Helper()
	q.Page = engine.Page{Limit: 100}
	list, _, err := s.Store.AuditEntries(s.t.Context(), q)
	ok(s.t, err)
	return list
}

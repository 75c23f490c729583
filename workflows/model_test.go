package workflows

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"pgregory.net/rapid"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/modeltest"
)

// TestModel compares the workflow, its activities and the store with the model:
// for all calls, lost answers of the store and crashes that hide a stored transition
// from the workflow, every caller gets the answer that the model gives, and the
// documents end in the same state.
func TestModel(t *testing.T) {
	noError(t, flag.Set("rapid.checks", fmt.Sprint(sequences())))
	var now atomic.Pointer[testsuite.TestWorkflowEnvironment] // whose clock is the testbed's
	now.Store(environment(t, ""))
	shared := newTestbed(t, func() time.Time { return engine.NormalizeTime(now.Load().Now()) })
	askPeople(shared, nil)
	rapid.Check(t, func(r *rapid.T) {
		s := &sequence{r: r, t: t, testbed: shared, id: engine.NewID("req")}
		s.env = environment(t, s.id)
		now.Store(s.env)
		s.draw()
		s.run()
		s.compare()
	})
}

// sequences is how many random sequences a run tries.
func sequences() int {
	if os.Getenv("COUNTERSIGN_SOAK") == "1" {
		return 2000
	}
	return 150
}

// sequence is one request and what is done with it.
type sequence struct {
	r       *rapid.T
	t       *testing.T
	testbed *testbed
	id      string
	acts    []act
	env     *testsuite.TestWorkflowEnvironment
	order   engine.WorkflowInput
	model   *modeltest.Model
	// behind says that a crash hid the last claim from the workflow: it finds that
	// the token expired only when another deadline passes.
	behind bool
}

// act is a call, or the settlement of a token, at a time after the start.
type act struct {
	after    time.Duration
	what     string
	who      string
	decision engine.Decision
	token    int
	lost     string
	crash    bool // after the store has the transition, before the workflow has it
}

// draw chooses the acts. Each act has a minute of the hour that no other act and no
// deadline has, so that their order is certain.
func (s *sequence) draw() {
	at := time.Duration(0)
	for range rapid.IntRange(1, 14).Draw(s.r, "acts") {
		at += time.Duration(rapid.SampledFrom([]int{1, 1, 1, 2, 5, 29, 31, 60, 99, 101}).Draw(s.r, "hours later")) * time.Hour
		s.acts = append(s.acts, act{
			after:    at + time.Minute*time.Duration(len(s.acts)+1),
			what:     rapid.SampledFrom([]string{"vote", "vote", "vote", "vote", "claim", "claim", "redeem", "revoke", "cancel"}).Draw(s.r, "act"),
			who:      rapid.SampledFrom([]string{"a", "b", "c", "d", "u"}).Draw(s.r, "who"),
			decision: rapid.SampledFrom([]engine.Decision{engine.DecisionApprove, engine.DecisionApprove, engine.DecisionApprove, engine.DecisionDeny}).Draw(s.r, "decision"),
			token:    rapid.IntRange(0, 3).Draw(s.r, "token"),
			crash:    rapid.IntRange(0, 5).Draw(s.r, "crash") == 0,
			lost:     rapid.SampledFrom([]string{"", "", "advance", "settle"}).Draw(s.r, "lost answer"),
		})
	}
}

func (s *sequence) run() {
	d := s.testbed
	registerActivities(s.env, d.activities())
	registerWorkflows(s.env)
	s.order = d.order(s.id, engine.RoleOperator)
	lives := modeltest.Lives{Approval: approvalLife, Window: claimWindow, Token: tokenLife}
	s.model = modeltest.New("u", 2, lives, s.order.Request.CreatedAt)
	for _, a := range s.acts {
		s.env.RegisterDelayedCallback(func() { s.do(a) }, a.after)
	}
	s.env.ExecuteWorkflow(downloadName, s.order)
	if !s.env.IsWorkflowCompleted() || s.env.GetWorkflowError() != nil {
		s.r.Fatalf("the workflow ended: %v, %v", s.env.IsWorkflowCompleted(), s.env.GetWorkflowError())
	}
	d.store.mend()
}

// do does one act, the same in the model and for real.
func (s *sequence) do(a act) {
	now := s.env.Now()
	s.adopt()
	if a.lost != "" && !a.crash {
		s.testbed.store.loses(map[string]int{a.lost: 1})
	}
	switch a.what {
	case "vote":
		askOrCrash(s, a, voteUpdate, voteOf(s.order, a.who, a.decision), s.testbed.transitions.Vote, s.model.Vote(now, a.who, a.decision))
	case "cancel":
		if !s.behind && s.model.Status != engine.StatusCancelled { // who cancelled already may do so again
			askOrCrash(s, a, cancelUpdate, cancelOf(s.order), s.testbed.transitions.Cancel, s.model.Cancel(now))
		}
	case "claim":
		claim := claimOf(s.order, fmt.Sprint(len(s.model.Tokens)))
		want := s.model.Claim(now)
		askOrCrash(s, a, claimUpdate, claim, s.testbed.transitions.Claim, want)
		s.behind = want == "" && a.crash || s.behind && want != ""
	case "redeem":
		if n := len(s.model.Tokens); n > 0 {
			s.redeem(a, a.token%n, now)
		}
	case "revoke":
		s.revoke(a, now)
	}
}

// askOrCrash has the workflow run a transition; where the act is a crash, it runs
// only the transition, without the workflow.
func askOrCrash[In any](s *sequence, a act, update string, in In, step func(context.Context, In) (engine.Request, error), want engine.Code) {
	if !a.crash {
		ask1(s.env, update, in, s.expect(a, want))
		return
	}
	s.testbed.store.mend()
	_, err := step(context.Background(), in)
	s.expect(a, want)(engine.CodeOf(err))
}

// adopt copies the real expiry of the last token into the model: a lost answer delays
// the claim, and with it the token's life, by the time of one more attempt.
func (s *sequence) adopt() {
	n := len(s.model.Tokens) - 1
	if n < 0 {
		return
	}
	found, err := s.testbed.store.Token(context.Background(), claimOf(s.order, fmt.Sprint(n)).Token.Digest)
	late := found.ExpiresAt.Sub(s.model.Tokens[n].Expires)
	if err != nil || late < -time.Millisecond || late > 500*time.Millisecond {
		s.t.Errorf("token %d expires %v late: %v; all: %+v", n, late, err, s.acts)
		return
	}
	s.model.Tokens[n].Expires = found.ExpiresAt
}

func (s *sequence) expect(a act, want engine.Code) func(engine.Code) {
	return func(got engine.Code) {
		if got != want {
			s.t.Errorf("%+v: %q, want %q; all: %+v", a, got, want, s.acts)
		}
	}
}

// redeem settles a token as a redemption does once the file is rendered.
func (s *sequence) redeem(a act, n int, now time.Time) {
	ctx, digest := context.Background(), claimOf(s.order, fmt.Sprint(n)).Token.Digest
	found, err := s.testbed.store.Store.Token(ctx, digest)
	if err != nil {
		s.t.Errorf("%+v: %v", a, err)
		return
	}
	var code engine.Code
	switch {
	case found.Settlement != nil:
		code = engine.CodeOf(found.Settlement.Err())
	case found.Expired(engine.NormalizeTime(now)):
		code = engine.CodeTokenExpired
	default:
		o := s.order
		o.Token = found.Token
		s.testbed.settle(o, engine.Consumed)
		report(s.env, o, false)
	}
	s.expect(a, s.model.Redeem(now, n))(code)
}

// notify passes on to the workflow what the server would report.
type notify struct {
	*Client
	env *testsuite.TestWorkflowEnvironment
}

func (n notify) ReportSettlement(r engine.SettlementReport) { n.env.SignalWorkflow(settledSignal, r) }

func (s *sequence) revoke(a act, now time.Time) {
	ctx := context.Background()
	r, err := s.testbed.store.Store.Request(ctx, project, s.id)
	if err != nil {
		s.t.Errorf("%+v: %v", a, err)
		return
	}
	downloads := &engine.Downloads{
		Store: s.testbed.store.Store, Workflows: notify{env: s.env}, Clock: s.testbed.transitions.Clock, Log: s.testbed.transitions.Log,
	}
	err = downloads.Revoke(ctx, engine.Caller{}, r)
	s.expect(a, s.model.Revoke(now))(engine.CodeOf(err))
}

// compare holds the documents against the model, once the workflow has ended.
func (s *sequence) compare() {
	s.adopt()
	s.model.Pass(s.env.Now().AddDate(1, 0, 0))
	ctx, store := context.Background(), s.testbed.store
	r, err := store.Request(ctx, project, s.id)
	if err != nil || r.Status != s.model.Status {
		s.r.Fatalf("the request is %s, want %s: %v", r.Status, s.model.Status, err)
	}
	a, err := store.Approval(ctx, project, r.ApprovalID)
	if err != nil || a.Status != s.model.Approval() || len(a.Decisions) != len(s.model.Votes) {
		s.r.Fatalf("the approval is %s with %d decisions, want %s with %d: %v", a.Status, len(a.Decisions), s.model.Approval(), len(s.model.Votes), err)
	}
	for n, want := range s.model.Tokens {
		got, err := store.Token(ctx, claimOf(s.order, fmt.Sprint(n)).Token.Digest)
		if err != nil || got.Settlement == nil || got.Settlement.Kind != want.End || !got.ExpiresAt.Equal(engine.NormalizeTime(want.Expires)) {
			s.r.Fatalf("token %d: %+v, want %+v: %v", n, got, want, err)
		}
	}
	for action, want := range map[string]int{
		engine.ActionDownloadRequested: 1, engine.ActionApprovalApproved: len(s.model.Votes) - s.denials(), engine.ActionApprovalDenied: s.denials(),
		engine.ActionTokenIssued: len(s.model.Tokens), engine.ActionDownloadInterrupted: 0,
	} {
		if got := s.testbed.count(s.id, action); got != want {
			s.r.Fatalf("%d entries of %s, want %d", got, action, want)
		}
	}
}

func (s *sequence) denials() (n int) {
	for _, d := range s.model.Votes {
		if d == engine.DecisionDeny {
			n++
		}
	}
	return n
}

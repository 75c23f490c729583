package workflows

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
	"github.com/countersign-dev/countersign/policies"
)

// testbed is what a request's workflow needs, without fakes: store, policy and
// notifications.
type testbed struct {
	t           *testing.T
	store       *flaky
	transitions *engine.Transitions
	reports     *reporter
	// The project has no targets unless a test makes some; dispatched are the
	// notifications that were to be sent.
	notifications *engine.Notifications
	mu            sync.Mutex
	dispatched    []engine.Notification
}

// flaky is a store whose first writes of a kind lose their answer: they are
// done, but the caller gets an error.
type flaky struct {
	engine.Store
	mu   sync.Mutex
	lost map[string]int
	// advancing is called before a request is brought to another state.
	advancing func()
}

// errLost is what a store says of a change that it made, and cannot say more of.
var errLost = engine.Errorf(engine.CodeAuditUnavailable, "the answer was lost")

// loses makes the next writes lose their answers; next is how many of each kind.
func (f *flaky) loses(next map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.lost, next)
}

// mend ends the loss of answers, and returns how many would still have been lost.
func (f *flaky) mend() (left map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left, f.lost = f.lost, map[string]int{}
	maps.DeleteFunc(left, func(_ string, n int) bool { return n == 0 })
	return left
}

func (f *flaky) lose(kind string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost[kind] > 0 {
		f.lost[kind]--
		return errLost
	}
	return nil
}

func (f *flaky) OpenRequest(ctx context.Context, first engine.Transition) (engine.Request, error) {
	r, err := f.Store.OpenRequest(ctx, first)
	return r, errors.Join(err, f.lose("open"))
}

func (f *flaky) Settle(ctx context.Context, s engine.Settlement, rec engine.Record) (engine.Settlement, bool, error) {
	winner, won, err := f.Store.Settle(ctx, s, rec)
	return winner, won, errors.Join(err, f.lose("settle"))
}

func (f *flaky) AdvanceRequest(ctx context.Context, next engine.Transition) error {
	f.advancing()
	return errors.Join(f.Store.AdvanceRequest(ctx, next), f.lose("advance"))
}

const project = "proj_test"

func newTestbed(t *testing.T, clock engine.Clock) *testbed {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	policy, err := policies.New(t.Context())
	noError(t, err)
	noError(t, store.CreateCertificate(t.Context(), engine.Certificate{ID: "cert_1", ProjectID: project, Name: "one", CreatedAt: clock()}, nil, record("cert")))
	for _, name := range []string{"a", "b", "c", "d"} { // system administrators may approve in every project
		noError(t, store.CreateUser(t.Context(), engine.User{ID: name, Username: name, SystemAdmin: true}, record("user "+name)))
	}
	d := &testbed{t: t, store: &flaky{Store: store, lost: map[string]int{}, advancing: func() {}}}
	d.reports = &reporter{undelivered: map[string]engine.SettlementReport{}}
	d.transitions = &engine.Transitions{
		Store: d.store, Policy: policy, Clock: clock, Log: slog.New(slog.DiscardHandler), Reports: &Client{reports: d.reports},
	}
	d.notifications = &engine.Notifications{Store: d.store, Clock: clock, Log: d.transitions.Log}
	return d
}

func (d *testbed) activities() *activities {
	return &activities{
		transitions: d.transitions, retention: &engine.Retention{Store: d.store, Clock: d.transitions.Clock}, notifications: d.notifications,
		dispatch: d.dispatch, callers: &waitingCallers{}, reports: d.reports,
	}
}

func (d *testbed) dispatch(_ context.Context, n engine.Notification) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dispatched = append(d.dispatched, n)
	return nil
}

func (d *testbed) notified() []engine.Notification {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.dispatched)
}

func record(ref string) engine.Record {
	return engine.Record{Audit: engine.AuditEntry{Ref: "test/" + ref, ProjectID: project, Action: "test"}}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// order is an operator's for a certificate's full chain.
func (d *testbed) order(id string, role engine.Role) engine.WorkflowInput {
	now := d.transitions.Clock()
	by := engine.Actor{Type: engine.ActorUser, ID: "u", Name: "u", Person: "u"}
	return engine.WorkflowInput{
		Request: engine.Request{
			ID: id, ProjectID: project, CertificateID: "cert_1", Requester: by, Format: "fullchain", Filename: "fullchain.pem",
			Options: "{}", TTLSeconds: 300, CreatedAt: now,
		},
		Token: engine.Token{
			Digest: engine.SecretDigest(engine.Secret(id)), RequestID: id, ProjectID: project, CertificateID: "cert_1",
			Requester: by, Format: "fullchain", Options: "{}",
		},
		Certificate: engine.PolicyCertificate{ID: "cert_1", Name: "one"},
		Role:        role, AnswerBy: now.Add(engine.AnswerWithin),
	}
}

// settle ends the order's token, as a redemption or a revocation does.
func (d *testbed) settle(o engine.WorkflowInput, kind engine.SettleKind) {
	s := engine.Settlement{
		Digest: o.Token.Digest, Kind: kind, Attempt: engine.NewID("try"), RequestID: o.Request.ID, ProjectID: project,
		Actor: o.Request.Requester, Time: d.transitions.Clock(),
	}
	_, won, err := d.store.Store.Settle(context.Background(), s, engine.Record{Audit: engine.AuditEntry{Ref: "settle/" + o.Token.Digest, ProjectID: project, Action: "test"}})
	if err != nil || !won {
		d.t.Errorf("settle: won %v, %v", won, err)
	}
}

// status and count read what is in the audit log.
func (d *testbed) status(id string) engine.Status {
	d.t.Helper()
	r, err := d.store.Request(context.Background(), project, id)
	noError(d.t, err)
	return r.Status
}

func (d *testbed) count(id, action string) int {
	d.t.Helper()
	list, _, err := d.store.AuditEntries(context.Background(), engine.AuditQuery{
		ProjectID: project, RequestID: id, Action: action, Page: engine.Page{Limit: 100}})
	noError(d.t, err)
	return len(list)
}

// environment skips time. It also does so while a transition runs, by the wall clock:
// the calls of a test must be further apart than a transition takes on a slow machine.
func environment(t *testing.T, id string) *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: id})
	env.SetDataConverter(testCodec(t).to("default", id))
	env.SetStartTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	env.SetTestTimeout(time.Minute) // of one step
	return env
}

// run executes the workflow of an order with time skipping; during, if any, is
// called with the running environment after a delay of workflow time.
type during struct {
	after time.Duration
	do    func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput)
}

func runDownload(t *testing.T, role engine.Role, prepare func(*testbed, *engine.WorkflowInput), steps ...during) (*testbed, engine.WorkflowInput, *testsuite.TestWorkflowEnvironment) {
	t.Helper()
	const id = "req_test"
	env := environment(t, id)
	d := newTestbed(t, func() time.Time { return engine.NormalizeTime(env.Now()) })
	registerActivities(env, d.activities())
	registerWorkflows(env)
	o := d.order(id, role)
	if prepare != nil {
		prepare(d, &o)
	}
	for _, s := range steps {
		env.RegisterDelayedCallback(func() { s.do(env, d, o) }, s.after)
	}
	env.ExecuteWorkflow(downloadName, o)
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow does not end")
	}
	noError(t, env.GetWorkflowError())
	return d, o, env
}

// report signals the workflow that the token of an order ended.
func report(env *testsuite.TestWorkflowEnvironment, o engine.WorkflowInput, interrupted bool) {
	env.SignalWorkflow(settledSignal, engine.SettlementReport{RequestID: o.Request.ID, TokenDigest: o.Token.Digest, Interrupted: interrupted})
}

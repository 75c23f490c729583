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

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
	"github.com/countersign-dev/countersign/policies"
)

// desk is a request's whole surroundings, real but for the renderers, whose
// table of formats is all that a workflow's steps look at.
type desk struct {
	t         *testing.T
	store     *flaky
	downloads *engine.Downloads
	reports   *reporter
	// The project has no targets unless a test makes some; said is what was
	// announced.
	notifications *engine.Notifications
	mu            sync.Mutex
	said          []engine.Notification
}

// formats knows one format.
type formats struct{ all }

// all is embedded under another name, since Formats is also a method.
type all interface{ engine.Formats }

func (formats) Format(name string) (engine.Format, bool) {
	return engine.Format{ID: "fullchain", Filename: "fullchain.pem"}, name == "fullchain"
}

// flaky is a store whose first writes of a kind lose their answer: they are
// done, but the caller gets an error.
type flaky struct {
	engine.Store
	mu   sync.Mutex
	lost map[string]int
}

// errLost is what a store says of a change that it made, and cannot say more of.
var errLost = engine.Errorf(engine.CodeAuditUnavailable, "the answer was lost")

// loses has the next writes, so many of each kind, lose their answer.
func (f *flaky) loses(next map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.lost, next)
}

// mend lets no more answers get lost, and returns how many still would have.
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
	return errors.Join(f.Store.AdvanceRequest(ctx, next), f.lose("advance"))
}

const project = "proj_test"

func newDesk(t *testing.T, clock engine.Clock) *desk {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	noError(t, err)
	t.Cleanup(func() { noError(t, store.Close()) })
	policy, err := policies.New(t.Context())
	noError(t, err)
	noError(t, store.CreateCertificate(t.Context(), engine.Certificate{ID: "cert_1", ProjectID: project, Name: "one", CreatedAt: clock()}, nil, record("cert")))
	d := &desk{t: t, store: &flaky{Store: store, lost: map[string]int{}}}
	d.reports = &reporter{waiting: map[string]settledNote{}}
	d.downloads = &engine.Downloads{
		Store: d.store, Formats: formats{}, Policy: policy, Clock: clock, Log: slog.New(slog.DiscardHandler),
		Workflows: &Client{reports: d.reports},
	}
	d.notifications = &engine.Notifications{Store: d.store, Clock: clock, Log: d.downloads.Log}
	return d
}

func (d *desk) tell(_ context.Context, n engine.Notification) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, n)
	return nil
}

func (d *desk) told() []engine.Notification {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.said)
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
func (d *desk) order(id string, role engine.Role) engine.WorkflowInput {
	now := d.downloads.Clock()
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
		Role: role, AnswerBy: now.Add(engine.AnswerWithin),
	}
}

// settle ends the order's token, as a redemption or a revocation does.
func (d *desk) settle(o engine.WorkflowInput, kind engine.SettleKind) {
	s := engine.Settlement{
		Digest: o.Token.Digest, Kind: kind, Attempt: engine.NewID("try"), RequestID: o.Request.ID, ProjectID: project,
		Actor: o.Request.Requester, Time: d.downloads.Clock(),
	}
	_, won, err := d.store.Store.Settle(context.Background(), s, engine.Record{Audit: engine.AuditEntry{Ref: "settle/" + o.Token.Digest, ProjectID: project, Action: "test"}})
	if err != nil || !won {
		d.t.Errorf("settle: won %v, %v", won, err)
	}
}

// status and count read what is on record.
func (d *desk) status(id string) engine.Status {
	d.t.Helper()
	r, err := d.store.Request(context.Background(), project, id)
	noError(d.t, err)
	return r.Status
}

func (d *desk) count(id, action string) int {
	d.t.Helper()
	list, _, err := d.store.AuditEntries(context.Background(), engine.AuditQuery{
		ProjectID: project, RequestID: id, Action: action, Page: engine.Page{Limit: 100}})
	noError(d.t, err)
	return len(list)
}

// environment skips time. While a step is under way it does so by the wall clock:
// what a test does must be further apart than a step takes on a slow machine.
func environment() *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	env.SetTestTimeout(time.Minute) // of one step
	return env
}

// run executes the workflow of an order with time skipping; during, if any, is
// called with the running environment after a delay of workflow time.
type during struct {
	after time.Duration
	do    func(env *testsuite.TestWorkflowEnvironment, d *desk, o engine.WorkflowInput)
}

func runDownload(t *testing.T, role engine.Role, prepare func(*desk, *engine.WorkflowInput), steps ...during) (*desk, engine.WorkflowInput, *testsuite.TestWorkflowEnvironment) {
	t.Helper()
	env := environment()
	env.SetDataConverter(converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), testCodec(t)))
	d := newDesk(t, func() time.Time { return engine.NormalizeTime(env.Now()) })
	a := &activities{downloads: d.downloads, notifications: d.notifications, tell: d.tell, waiting: &waiters{}, reports: d.reports}
	registerActivities(env, a)
	registerWorkflows(env)
	o := d.order("req_test", role)
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

func report1(env *testsuite.TestWorkflowEnvironment, interrupted bool) {
	env.SignalWorkflow(settledSignal, settledNote{Interrupted: interrupted})
}

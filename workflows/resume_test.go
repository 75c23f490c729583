package workflows

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/workflows/embedded"
)

// lostAt are the states in which a request loses its workflow. Each takes an order
// there by the transitions alone.
var lostAt = map[string]func(*testbed, engine.WorkflowInput){
	"pending approval": func(d *testbed, o engine.WorkflowInput) {
		askPeople(d, nil)
		d.decide(o)
	},
	"approved": func(d *testbed, o engine.WorkflowInput) {
		askPeople(d, nil)
		d.decide(o)
		d.approve(o)
	},
	"issued after approval": func(d *testbed, o engine.WorkflowInput) {
		askPeople(d, nil)
		d.decide(o)
		d.approve(o)
		_, err := d.transitions.Claim(context.Background(), claimOf(o, "1"))
		noError(d.t, err)
	},
	"issued": func(d *testbed, o engine.WorkflowInput) { d.decide(o) },
}

func (d *testbed) decide(o engine.WorkflowInput) {
	_, err := d.transitions.EvaluatePolicy(context.Background(), o)
	noError(d.t, err)
}

func (d *testbed) approve(o engine.WorkflowInput) {
	for _, who := range []string{"a", "b"} {
		_, err := d.transitions.Vote(context.Background(), voteOf(o, who, engine.DecisionApprove))
		noError(d.t, err)
	}
}

// resumed is what becomes of a request that has lost its workflow, after the steps.
type resumed struct {
	lost   string
	steps  []during
	status engine.Status
	lasts  time.Duration
	told   []engine.NotificationEvent
}

var resumptions = map[string]resumed{
	"never approved": {"pending approval", nil, engine.StatusExpired, approvalLife, []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyReminder, engine.NotifyExpired}},
	"denied":         {"pending approval", []during{vote(time.Hour, "a", engine.DecisionDeny, "")}, engine.StatusDenied, time.Hour, []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyDecided}},
	"approved, and claimed": {"pending approval", []during{
		vote(10*time.Hour, "a", engine.DecisionApprove, ""), vote(20*time.Hour, "b", engine.DecisionApprove, ""),
		claim(30*time.Hour, "1", ""), use(31*time.Hour, "1", engine.Consumed),
	}, engine.StatusConsumed, 31 * time.Hour, []engine.NotificationEvent{engine.NotifyRequested, engine.NotifyDecided}},
	"never claimed": {"approved", nil, engine.StatusExpired, claimWindow, []engine.NotificationEvent{engine.NotifyDecided}},
	"cancelled":     {"approved", []during{cancel(time.Hour, "")}, engine.StatusCancelled, time.Hour, []engine.NotificationEvent{engine.NotifyDecided}},
	"claimed":       {"approved", []during{claim(time.Hour, "1", ""), use(2*time.Hour, "1", engine.Revoked)}, engine.StatusRevoked, 2 * time.Hour, []engine.NotificationEvent{engine.NotifyDecided}},
	"claimed again": {"issued after approval", []during{claim(time.Hour, "2", ""), use(2*time.Hour, "2", engine.Consumed)}, engine.StatusConsumed, 2 * time.Hour, nil},
	"token expired": {"issued after approval", nil, engine.StatusExpired, claimWindow, nil},
	"unused":        {"issued", nil, engine.StatusExpired, 5 * time.Minute, nil},
	"used":          {"issued", []during{consume(time.Minute, true, false)}, engine.StatusConsumed, time.Minute, nil},
}

// A request whose workflow is lost continues from the state in the store, with its
// deadlines, and ends as it would have.
func TestResumptions(t *testing.T) {
	for name, c := range resumptions {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
}

func (c resumed) check(t *testing.T) {
	const id = "req_test"
	env := environment(t, id)
	d := newTestbed(t, func() time.Time { return engine.NormalizeTime(env.Now()) })
	d.notifying(t, "https://hook.example")
	registerActivities(env, d.activities())
	registerWorkflows(env)
	o := d.order(id, engine.RoleOperator)
	lostAt[c.lost](d, o)
	for _, s := range c.steps {
		env.RegisterDelayedCallback(func() { s.do(env, d, o) }, s.after)
	}
	env.ExecuteWorkflow(resumeWorkflowName, engine.ResumeCommand{ProjectID: project, RequestID: id})
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow does not end")
	}
	noError(t, env.GetWorkflowError())
	if got := d.status(id); got != c.status {
		t.Errorf("the request is %s, want %s", got, c.status)
	}
	if lasted := env.Now().Sub(o.Request.CreatedAt); lasted < c.lasts || lasted > c.lasts+2*time.Second {
		t.Errorf("it ended after %v, want %v", lasted, c.lasts)
	}
	told := map[engine.NotificationEvent]int{}
	for _, n := range d.notified() {
		told[n.Event]++
	}
	if len(d.notified()) != len(c.told) {
		t.Errorf("people were told of %v, want %v", told, c.told)
	}
	for _, event := range c.told {
		if told[event] != 1 {
			t.Errorf("people were told of %v, want %v", told, c.told)
		}
	}
	d.verify()
}

// A workflow that Temporal's backup knows in an earlier state than the store looks at
// the store when it is asked to, and ends the request.
func TestAWorkflowOlderThanItsRequestCatchesUp(t *testing.T) {
	behind := during{time.Hour, func(_ *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		p := engine.DefaultPolicy(project)
		d.approve(o)
		r, err := d.store.Request(context.Background(), project, o.Request.ID)
		noError(d.t, err)
		r.Version, r.ClaimExpiresAt, p.Version = r.Version+1, r.UpdatedAt.Add(time.Hour), 2
		noError(d.t, d.store.AdvanceRequest(context.Background(), engine.Transition{Request: r}))
	}}
	asked := during{3 * time.Hour, func(env *testsuite.TestWorkflowEnvironment, _ *testbed, o engine.WorkflowInput) {
		env.SignalWorkflow(settledSignal, engine.SettlementReport{RequestID: o.Request.ID})
	}}
	d, o, env := runDownload(t, engine.RoleOperator, askPeople, behind, asked)
	if got := d.status(o.Request.ID); got != engine.StatusExpired {
		t.Errorf("the request is %s", got)
	}
	if lasted := env.Now().Sub(o.Request.CreatedAt); lasted > 3*time.Hour+2*time.Second {
		t.Errorf("it ended after %v", lasted)
	}
	d.verify()
}

// temporalOn runs a Temporal server and a node on it, until stop.
func temporalOn(t *testing.T, d *testbed, dir string) (temporal client.Client, c *Client, stop func()) {
	t.Helper()
	DisableCache()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	noError(t, err)
	temporal, err = client.DialContext(t.Context(), Options(server.ClientOptions(client.Options{Namespace: "countersign", Logger: quiet{}}), testCodec(t)))
	noError(t, err)
	c = NewClient(temporal, d.store, slog.New(slog.DiscardHandler))
	noError(t, c.Work(d.transitions, &engine.Retention{Store: d.store, Clock: engine.SystemClock}, d.notifications))
	return temporal, c, func() {
		c.Close(context.WithoutCancel(t.Context()))
		temporal.Close()
		server.Stop()
	}
}

// reconciled runs the reconciliation as its schedule does, and returns what it did.
func reconciled(t *testing.T, temporal client.Client) (done Reconciled) {
	t.Helper()
	run, err := temporal.ExecuteWorkflow(addressed(t.Context(), reconciliationID),
		client.StartWorkflowOptions{ID: engine.NewID(reconciliationID), TaskQueue: TaskQueue}, reconcileWorkflowName)
	noError(t, err)
	resultOfRun(t, temporal, reconciliationID, run, &done)
	return done
}

func terminate(t *testing.T, temporal client.Client, id string) {
	t.Helper()
	noError(t, temporal.TerminateWorkflow(t.Context(), id, "", "lost"))
}

// A command for a request that has no workflow gives it one, and is carried out. Only a
// request that has ended answers that it has.
func TestCommandsFindALostWorkflow(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	temporal, c, stop := temporalOn(t, d, t.TempDir())
	defer stop()
	askPeople(d, nil)
	o := d.order("req_1", engine.RoleOperator)
	_, err := c.Start(t.Context(), o)
	noError(t, err)
	commands := []func() (engine.Request, error){
		func() (engine.Request, error) { return c.Vote(t.Context(), voteOf(o, "a", engine.DecisionApprove)) },
		func() (engine.Request, error) { return c.Vote(t.Context(), voteOf(o, "b", engine.DecisionApprove)) },
		func() (engine.Request, error) { return c.Claim(t.Context(), claimOf(o, "1")) },
		func() (engine.Request, error) { return c.Claim(t.Context(), claimOf(o, "2")) },
	}
	for i, want := range []engine.Status{engine.StatusPendingApproval, engine.StatusApproved, engine.StatusIssued, engine.StatusIssued} {
		terminate(t, temporal, o.Request.ID)
		r, err := commands[i]()
		noError(t, err)
		if r.Status != want {
			t.Errorf("command %d left the request %s, want %s", i, r.Status, want)
		}
	}
	o.Token = claimOf(o, "2").Token
	d.settle(o, engine.Consumed)
	c.ReportSettlement(engine.SettlementReport{RequestID: o.Request.ID, TokenDigest: o.Token.Digest})
	noError(t, temporal.GetWorkflow(t.Context(), o.Request.ID, "").Get(t.Context(), nil))
	if _, err := c.Claim(t.Context(), claimOf(o, "3")); !errors.Is(err, engine.CodeNotPending) {
		t.Errorf("a claim of a request that has ended: %v", err)
	}
	if _, err := c.Cancel(t.Context(), engine.CancelCommand{ProjectID: project, RequestID: "req_none"}); !errors.Is(err, engine.CodeNotPending) {
		t.Errorf("a request that does not exist: %v", err)
	}
	if got := c.Resumed(); got != 4 {
		t.Errorf("%d requests were resumed", got)
	}
	d.verify()
}

// The report of a file that arrived whole is not lost with the workflow that it is for.
func TestAReportFindsALostWorkflow(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	temporal, c, stop := temporalOn(t, d, t.TempDir())
	defer stop()
	o := d.order("req_1", engine.RoleOperator)
	_, err := c.Start(t.Context(), o)
	noError(t, err)
	terminate(t, temporal, o.Request.ID)
	d.settle(o, engine.Consumed)
	c.ReportSettlement(engine.SettlementReport{ProjectID: project, RequestID: o.Request.ID, TokenDigest: o.Token.Digest})
	for d.status(o.Request.ID) != engine.StatusConsumed {
		if t.Context().Err() != nil {
			t.Fatal("the request does not end")
		}
	}
	if n := d.count(o.Request.ID, engine.ActionDownloadInterrupted); n != 0 {
		t.Errorf("%d entries say that the file was interrupted", n)
	}
	d.verify()
}

// A new Temporal gets a workflow for each request that has not ended, once, and none
// for the others. What is past its deadline ends.
func TestANewTemporalIsRebuilt(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	_, c, stop := temporalOn(t, d, t.TempDir())
	begin := func(id string, seconds int) engine.WorkflowInput {
		o := d.order(id, engine.RoleOperator)
		o.Request.TTLSeconds = seconds
		_, err := c.Start(t.Context(), o)
		noError(t, err)
		return o
	}
	live, used, late := begin("req_live", 300), begin("req_used", 300), begin("req_late", 1)
	d.settle(used, engine.Consumed)
	_, err := d.transitions.RecordSettlement(t.Context(), engine.SettlementCheck{
		ProjectID: project, RequestID: used.Request.ID, Report: engine.SettlementReport{TokenDigest: used.Token.Digest},
	})
	noError(t, err)
	askPeople(d, nil)
	pending := begin("req_pending", 300)
	stop()

	temporal, c, stop := temporalOn(t, d, t.TempDir())
	defer stop()
	if got := reconciled(t, temporal); got.Resumed != got.Requests || got.Requests < 2 || got.Requests > 3 {
		t.Errorf("the first reconciliation: %+v", got)
	}
	noError(t, temporal.GetWorkflow(t.Context(), late.Request.ID, "").Get(t.Context(), nil))
	if got := d.status(late.Request.ID); got != engine.StatusExpired {
		t.Errorf("the request whose time was up is %s", got)
	}
	if got := reconciled(t, temporal); got != (Reconciled{Requests: 2}) {
		t.Errorf("the second reconciliation: %+v", got)
	}
	for id, want := range map[string]enums.WorkflowExecutionStatus{
		live.Request.ID: enums.WORKFLOW_EXECUTION_STATUS_RUNNING, pending.Request.ID: enums.WORKFLOW_EXECUTION_STATUS_RUNNING,
	} {
		found, err := temporal.DescribeWorkflowExecution(t.Context(), id, "")
		noError(t, err)
		if got := found.WorkflowExecutionInfo.Status; got != want {
			t.Errorf("the workflow of %s is %s", id, got)
		}
	}
	if found, err := temporal.DescribeWorkflowExecution(t.Context(), used.Request.ID, ""); err == nil {
		t.Errorf("a request that had ended got a workflow: %v", found.WorkflowExecutionInfo)
	}
	d.approve(pending)
	d.verify()
}

// Temporal restored from a backup has workflows in earlier states than the store, lacks
// some, and has some whose requests have ended. All end as the store says.
func TestARestoredTemporalCatchesUp(t *testing.T) {
	d, dir, backup := newTestbed(t, engine.SystemClock), t.TempDir(), t.TempDir()
	_, c, stop := temporalOn(t, d, dir)
	askPeople(d, nil)
	begin := func(id string) engine.WorkflowInput {
		o := d.order(id, engine.RoleOperator)
		_, err := c.Start(t.Context(), o)
		noError(t, err)
		return o
	}
	claimed, cancelled := begin("req_claimed"), begin("req_cancelled")
	stop()
	noError(t, os.CopyFS(backup, os.DirFS(dir)))

	_, c, stop = temporalOn(t, d, dir)
	for _, who := range []string{"a", "b"} {
		_, err := c.Vote(t.Context(), voteOf(claimed, who, engine.DecisionApprove))
		noError(t, err)
	}
	claim := claimOf(claimed, "1")
	claim.TTLSeconds = 1
	_, err := c.Claim(t.Context(), claim)
	noError(t, err)
	_, err = c.Cancel(t.Context(), cancelOf(cancelled))
	noError(t, err)
	fresh := begin("req_fresh")
	stop()

	temporal, c, stop := temporalOn(t, d, backup)
	defer stop()
	if got := reconciled(t, temporal); got.Resumed != 1 {
		t.Errorf("%+v", got)
	}
	_, err = c.Cancel(t.Context(), cancelOf(fresh))
	noError(t, err)
	if _, err = c.Cancel(t.Context(), cancelOf(cancelled)); err != nil { // the same request to cancel, again
		t.Errorf("cancelled again: %v", err)
	}
	c.clock = func() time.Time { return engine.SystemClock().Add(time.Hour) }
	for d.status(claimed.Request.ID) == engine.StatusIssued {
		reconciled(t, temporal)
	}
	_, err = c.Claim(t.Context(), claimOf(claimed, "2"))
	noError(t, err)
	claimed.Token = claimOf(claimed, "2").Token
	d.settle(claimed, engine.Consumed)
	c.ReportSettlement(engine.SettlementReport{RequestID: claimed.Request.ID, TokenDigest: claimed.Token.Digest})
	for _, o := range []engine.WorkflowInput{claimed, cancelled, fresh} {
		noError(t, temporal.GetWorkflow(t.Context(), o.Request.ID, "").Get(t.Context(), nil))
	}
	if got := d.status(claimed.Request.ID); got != engine.StatusConsumed {
		t.Errorf("the claimed request is %s", got)
	}
	d.verify()
}

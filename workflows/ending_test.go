package workflows

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"github.com/countersign-dev/countersign/engine"
)

// ending is a way in which a request ends, with the audit entries that this leaves.
type ending struct {
	role    engine.Role
	prepare func(*testbed, *engine.WorkflowInput)
	steps   []during
	status  engine.Status
	lasts   time.Duration
	entries map[string]int
}

// consume settles the token as consumed, and reports this to the workflow if
// withReport is set.
func consume(after time.Duration, withReport, interrupted bool) during {
	return during{after, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		d.settle(o, engine.Consumed)
		if withReport {
			report(env, o, interrupted)
		}
	}}
}

var endings = map[string]ending{
	"consumed": {engine.RoleOperator, nil, []during{consume(time.Minute, true, false)}, engine.StatusConsumed, time.Minute,
		map[string]int{engine.ActionDownloadRequested: 1, engine.ActionDownloadInterrupted: 0}},
	"consumed, the file cut short": {engine.RoleOperator, nil, []during{consume(time.Minute, true, true)}, engine.StatusConsumed, time.Minute,
		map[string]int{engine.ActionDownloadInterrupted: 1, engine.ActionDownloadUnconfirmed: 0}},
	"consumed, the process died": {engine.RoleOperator, nil, []during{consume(time.Minute, false, false)}, engine.StatusConsumed, 5*time.Minute + 30*time.Second,
		map[string]int{engine.ActionDownloadInterrupted: 0, engine.ActionDownloadUnconfirmed: 1}},
	"consumed, the report late": {engine.RoleOperator, nil, []during{
		consume(4*time.Minute+50*time.Second, false, false),
		{5*time.Minute + 10*time.Second, func(env *testsuite.TestWorkflowEnvironment, _ *testbed, o engine.WorkflowInput) {
			report(env, o, false)
		}},
	}, engine.StatusConsumed, 5*time.Minute + 10*time.Second, map[string]int{engine.ActionDownloadInterrupted: 0}},
	"consumed, the report still queued here": {engine.RoleOperator, nil, []during{{time.Minute, func(_ *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		d.settle(o, engine.Consumed)
		d.reports.mu.Lock()
		defer d.reports.mu.Unlock()
		d.reports.undelivered[o.Request.ID] = engine.SettlementReport{RequestID: o.Request.ID, TokenDigest: o.Token.Digest}
	}}}, engine.StatusConsumed, 5 * time.Minute, map[string]int{engine.ActionDownloadInterrupted: 0}},
	"consumed, its records gone after a long outage": {engine.RoleOperator, nil, []during{{time.Minute, func(_ *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		d.settle(o, engine.Consumed)
		if n, err := d.store.PurgeTokens(context.Background(), o.Request.CreatedAt.AddDate(1, 0, 0), 10); n != 1 || err != nil {
			d.t.Errorf("purged %d, %v", n, err)
		}
	}}}, engine.StatusExpired, 5 * time.Minute, nil},
	"revoked": {engine.RoleOperator, nil, []during{{time.Minute, func(env *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		d.settle(o, engine.Revoked)
		report(env, o, false)
	}}}, engine.StatusRevoked, time.Minute, map[string]int{engine.ActionTokenRevoked: 0, engine.ActionDownloadInterrupted: 0}},
	"revoked, unreported": {engine.RoleOperator, nil, []during{{time.Minute, func(_ *testsuite.TestWorkflowEnvironment, d *testbed, o engine.WorkflowInput) {
		d.settle(o, engine.Revoked)
	}}}, engine.StatusRevoked, 5 * time.Minute, nil},
	"expired": {engine.RoleOperator, nil, nil, engine.StatusExpired, 5 * time.Minute, map[string]int{engine.ActionTokenExpired: 1}},
	"expired, a stray report before": {engine.RoleOperator, nil, []during{{time.Minute, func(env *testsuite.TestWorkflowEnvironment, _ *testbed, o engine.WorkflowInput) {
		report(env, o, false)
	}}}, engine.StatusExpired, 5 * time.Minute, map[string]int{engine.ActionTokenExpired: 1}},
	"denied": {engine.RoleViewer, nil, nil, engine.StatusDenied, 0, map[string]int{engine.ActionDownloadRequested: 1, engine.ActionTokenExpired: 0}},
	"too late": {engine.RoleOperator, func(_ *testbed, o *engine.WorkflowInput) { o.AnswerBy = o.AnswerBy.Add(-time.Hour) }, nil,
		engine.StatusCancelled, 0, map[string]int{engine.ActionDownloadRequested: 1}},
}

func TestEndings(t *testing.T) {
	for name, c := range endings {
		t.Run(name, func(t *testing.T) { c.check(t) })
	}
}

func (c ending) check(t *testing.T) (*testbed, engine.WorkflowInput) {
	t.Helper()
	d, o, env := runDownload(t, c.role, c.prepare, c.steps...)
	if got := d.status(o.Request.ID); got != c.status {
		t.Errorf("the request is %s, want %s", got, c.status)
	}
	if lasted := env.Now().Sub(o.Request.CreatedAt); lasted < c.lasts || lasted > c.lasts+2*time.Second {
		t.Errorf("it ended after %v, want %v", lasted, c.lasts)
	}
	for action, want := range c.entries {
		if got := d.count(o.Request.ID, action); got != want {
			t.Errorf("%d entries of %s, want %d", got, action, want)
		}
	}
	d.verify()
	return d, o
}

func (d *testbed) verify() {
	v, err := engine.VerifyAudit(d.t.Context(), d.store, nil, project, engine.AuditHead{})
	if err != nil || !v.OK {
		d.t.Errorf("audit: %+v, %v", v, err)
	}
}

// A transition whose answer is lost runs again and changes nothing.
func TestLostAnswersChangeNothing(t *testing.T) {
	d, o, _ := runDownload(t, engine.RoleOperator, func(d *testbed, _ *engine.WorkflowInput) {
		d.store.loses(map[string]int{"open": 3, "settle": 3, "advance": 1})
	})
	if got := d.status(o.Request.ID); got != engine.StatusExpired {
		t.Errorf("the request is %s", got)
	}
	for _, action := range []string{engine.ActionDownloadRequested, engine.ActionTokenExpired} {
		if got := d.count(o.Request.ID, action); got != 1 {
			t.Errorf("%d entries of %s", got, action)
		}
	}
	r, err := d.store.Request(t.Context(), project, o.Request.ID)
	noError(t, err)
	if want := o.Request.CreatedAt.Add(5 * time.Minute); !r.ExpiresAt.Equal(want) || r.Version != 2 {
		t.Errorf("expiry %v, want the first decision's %v; version %d", r.ExpiresAt, want, r.Version)
	}
	if left := d.store.mend(); len(left) > 0 {
		t.Errorf("lost answers that were not met: %v", left)
	}
	d.verify()
}

func TestWaitingCallersAreAnsweredOnce(t *testing.T) {
	var w waitingCallers
	decision, remove := w.add("a")
	w.answer(engine.Request{ID: "a"})
	w.answer(engine.Request{ID: "a"})
	if got := <-decision; got.ID != "a" {
		t.Errorf("answered %q", got.ID)
	}
	remove()
	later, removeLater := w.add("a")
	remove() // the first caller's, too late: another caller waits now
	w.answer(engine.Request{ID: "a"})
	if got := <-later; got.ID != "a" {
		t.Errorf("answered %q", got.ID)
	}
	removeLater()
	if len(w.waiting) != 0 {
		t.Errorf("%d callers are still waiting", len(w.waiting))
	}
}

// The activity of retention also purges the audit log, after everything else.
func TestRetentionPurgesTheAuditLog(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	d := newTestbed(t, func() time.Time { return now })
	a := d.activities()
	const day = 24 * time.Hour
	ages := engine.RetentionAges{Tokens: 30 * day, Requests: 30 * day, Events: 30 * day, Audit: 60 * day}
	a.retention.Audit = &engine.AuditPurge{Store: d.store, Clock: d.transitions.Clock, Log: d.transitions.Log}
	noError(t, d.store.Append(t.Context(), engine.AuditEntry{Ref: "old", ProjectID: engine.SystemChain, Time: now}))
	env := (&testsuite.WorkflowTestSuite{}).NewTestActivityEnvironment()
	env.RegisterActivity(a.purge)
	now = now.Add(61 * day)
	value, err := env.ExecuteActivity(a.purge, ages)
	noError(t, err)
	var purged engine.Purged
	noError(t, value.Get(&purged))
	left, err := d.store.AuditAfter(t.Context(), engine.SystemChain, 0, 9)
	noError(t, err)
	if purged.Entries != 1 || a.retention.Audit.Failures() > 0 || len(left) != 1 || left[0].Action != engine.ActionAuditPurged {
		t.Errorf("purged %+v, %d failures, %+v is left", purged, a.retention.Audit.Failures(), left)
	}
}

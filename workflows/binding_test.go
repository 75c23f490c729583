package workflows

import (
	"strings"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/countersign-dev/countersign/engine"
)

func (d *testbed) installation(key string) engine.Installation {
	return engine.Installation{Store: d.store, Key: []byte(key), Clock: engine.SystemClock}
}

// refused checks that a start is refused, and that the message says what to do.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// changes are the reasons of the entries that say which Temporal is used.
func (d *testbed) changes() (reasons []string) {
	list, _, err := d.store.AuditEntries(d.t.Context(), engine.AuditQuery{ProjectID: engine.SystemChain, Action: engine.ActionTemporalChanged, Page: engine.Page{Limit: 10}})
	noError(d.t, err)
	for _, e := range list {
		reasons = append(reasons, strings.Fields(e.Detail["reason"])[0])
	}
	return reasons
}

// An installation and its Temporal know each other: first starts at the same time agree,
// another installation is refused, and so is another Temporal, or an emptied one, until
// it is accepted.
func TestAnInstallationKnowsItsTemporal(t *testing.T) {
	d, dir := newTestbed(t, engine.SystemClock), t.TempDir()
	temporal, c, stop := temporalOn(t, d, dir)
	d.decide(d.order("req_1", engine.RoleOperator))
	starts := make(chan error)
	for range 4 {
		go func() { starts <- c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, false) }()
	}
	for range 4 {
		noError(t, <-starts)
	}
	noError(t, c.Reconcile(t.Context()))
	var done Reconciled
	run := firstRun(t, temporal, reconciliationID)
	resultOfRun(t, temporal, reconciliationID, temporal.GetWorkflow(t.Context(), run.WorkflowID, run.FirstExecutionRunID), &done)
	if done != (Reconciled{Requests: 1, Resumed: 1}) || c.Resumed() != 1 {
		t.Errorf("%+v, resumed %d", done, c.Resumed())
	}
	schedule := temporal.ScheduleClient().GetHandle(t.Context(), reconciliationID)
	found, err := schedule.Describe(t.Context())
	noError(t, err)
	if got := found.Schedule.Policy.Overlap; got != enums.SCHEDULE_OVERLAP_POLICY_SKIP {
		t.Errorf("overlap: %s", got)
	}

	other := newTestbed(t, engine.SystemClock)
	for _, accept := range []bool{false, true} {
		refused(t, c.Bind(t.Context(), "countersign", other.installation("two"), engine.FirstStart, accept), d.installation("one").ID(), other.installation("two").ID(), "temporal.namespace")
	}
	if got := other.changes(); len(got) != 0 {
		t.Errorf("a start that was refused left %v", got)
	}
	noError(t, schedule.Pause(t.Context(), client.SchedulePauseOptions{Note: "an operator's"}))
	noError(t, c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, false)) // a pause changes nothing
	noError(t, schedule.Delete(t.Context()))
	for missing := false; !missing; {
		owner, err := c.owner(t.Context())
		noError(t, err)
		missing = owner == ""
	}
	for range 2 {
		refused(t, c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, false), "--accept-temporal")
	}
	noError(t, c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, true))
	stop()

	_, c, stop = temporalOn(t, d, t.TempDir())
	defer stop()
	for range 2 {
		refused(t, c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, false), "temporal.address", "--accept-temporal")
	}
	for _, accept := range []bool{true, true, false} {
		noError(t, c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, accept))
	}
	if got := strings.Join(d.changes(), " "); got != "accepted accepted first" {
		t.Errorf("the audit log says %s", got)
	}
}

// Of first starts against different Temporals, one wins, and the others are refused.
func TestFirstStartsAgainstDifferentTemporals(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	starts := make(chan error)
	for range 2 {
		_, c, stop := temporalOn(t, d, t.TempDir())
		defer stop()
		go func() { starts <- c.Bind(t.Context(), "countersign", d.installation("one"), engine.FirstStart, false) }()
	}
	var lost []error
	for range 2 {
		if err := <-starts; err != nil {
			lost = append(lost, err)
		}
	}
	if len(lost) != 1 {
		t.Fatalf("refused: %v", lost)
	}
	refused(t, lost[0], "--accept-temporal")
}

// A node that runs while Temporal is emptied makes the schedules again, so that requests
// which nobody asks for end too.
func TestSchedulesOfAnEmptiedTemporalAreMadeAgain(t *testing.T) {
	d := newTestbed(t, engine.SystemClock)
	d.decide(d.order("req_1", engine.RoleOperator))
	temporal, c, stop := temporalOn(t, d, t.TempDir()) // it has nothing of the installation
	defer stop()
	noError(t, c.restoreSchedules(t.Context(), d.installation("one"), engine.RetentionAges{}))
	var done Reconciled
	run := firstRun(t, temporal, reconciliationID)
	resultOfRun(t, temporal, reconciliationID, temporal.GetWorkflow(t.Context(), run.WorkflowID, run.FirstExecutionRunID), &done)
	if done.Resumed != 1 {
		t.Errorf("%+v", done)
	}
	_, err := temporal.ScheduleClient().GetHandle(t.Context(), retentionID).Describe(t.Context())
	noError(t, err)
	noError(t, c.restoreSchedules(t.Context(), d.installation("one"), engine.RetentionAges{}))
	refused(t, c.restoreSchedules(t.Context(), d.installation("two"), engine.RetentionAges{}), d.installation("one").ID())
}

package workflows

import (
	"errors"
	"log/slog"
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/workflows/embedded"
)

// Nodes that share the key read each other's payloads, of every kind that the product
// uses: one node calls, and the worker of another one runs the workflow. What a
// caller addresses to another workflow does not open.
func TestNodesReadEachOther(t *testing.T) {
	DisableCache()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	noError(t, err)
	defer server.Stop()
	d := newTestbed(t, engine.SystemClock)
	node := func() (client.Client, *Client) {
		temporal, err := client.DialContext(t.Context(), Options(server.ClientOptions(client.Options{Namespace: "countersign", Logger: quiet{}}), testCodec(t)))
		noError(t, err)
		t.Cleanup(temporal.Close)
		return temporal, NewClient(temporal, d.store, slog.New(slog.DiscardHandler))
	}
	_, working := node()
	noError(t, working.Work(d.transitions, &engine.Retention{Store: d.store, Clock: engine.SystemClock}, d.notifications))
	defer working.Close(t.Context())
	temporal, calling := node()
	defer calling.Close(t.Context())

	askPeople(d, nil)
	o := d.order("req_1", engine.RoleOperator)
	r, err := calling.Start(t.Context(), o) // input, local activity
	noError(t, err)
	if r.Status != engine.StatusPendingApproval {
		t.Fatalf("the request is %s", r.Status)
	}
	for _, who := range []string{"a", "b"} {
		r, err = calling.Vote(t.Context(), voteOf(o, who, engine.DecisionApprove)) // input and result of an Update
		noError(t, err)
	}
	if r.Status != engine.StatusApproved {
		t.Fatalf("the request is %s", r.Status)
	}
	_, err = calling.Vote(t.Context(), voteOf(o, "u", engine.DecisionApprove)) // text of a failure
	if want := r.CheckVoter(r.Requester); err == nil || err.Error() != want.Error() {
		t.Errorf("the refusal reads %v, want %v", err, want)
	}
	elsewhere := voteOf(o, "c", engine.DecisionApprove)
	elsewhere.RequestID = "req_2"
	_, err = calling.send(t.Context(), o.Request.ID, voteUpdate, elsewhere)
	if refused, ok := errors.AsType[*sdk.ApplicationError](err); !ok || refused.Type() != string(engine.CodeInvalidRequest) {
		t.Errorf("a vote on another request: %v", err)
	}
	claim := claimOf(o, "1")
	_, err = calling.Claim(t.Context(), claim)
	noError(t, err)
	o.Token = claim.Token
	d.settle(o, engine.Consumed)
	report := engine.SettlementReport{RequestID: o.Request.ID, TokenDigest: o.Token.Digest, Interrupted: true}
	noError(t, temporal.SignalWorkflow(addressed(t.Context(), "req_2"), o.Request.ID, "", settledSignal, report))
	report.Interrupted = false
	calling.ReportSettlement(report)                                                      // signal
	noError(t, temporal.GetWorkflow(t.Context(), o.Request.ID, "").Get(t.Context(), nil)) // end
	if n := d.count(o.Request.ID, engine.ActionDownloadInterrupted); n != 0 {
		t.Error("the report that was addressed to another workflow was read")
	}
	noError(t, calling.ScheduleRetention(t.Context(), engine.RetentionAges{}))
	noError(t, temporal.ScheduleClient().GetHandle(t.Context(), retentionID).Trigger(t.Context(), client.ScheduleTriggerOptions{}))
	awaitRetention(t, temporal)
}

// awaitRetention waits until a workflow of the schedule has ended, and checks that it
// read its input.
func awaitRetention(t *testing.T, temporal client.Client) {
	t.Helper()
	var purged engine.Purged
	run := firstRun(t, temporal, retentionID)
	resultOfRun(t, temporal, retentionID, temporal.GetWorkflow(t.Context(), run.WorkflowID, run.FirstExecutionRunID), &purged)
}

// firstRun waits until a schedule has started a workflow.
func firstRun(t *testing.T, temporal client.Client, schedule string) *client.ScheduleWorkflowExecution {
	t.Helper()
	for {
		d, err := temporal.ScheduleClient().GetHandle(t.Context(), schedule).Describe(t.Context())
		noError(t, err)
		if len(d.Info.RecentActions) > 0 {
			return d.Info.RecentActions[0].StartWorkflowResult
		}
	}
}

// resultOfRun waits until a schedule's workflow has ended, and reads its result.
func resultOfRun(t *testing.T, temporal client.Client, schedule string, run client.WorkflowRun, result any) {
	t.Helper()
	noError(t, run.Get(t.Context(), nil))
	events := temporal.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	last, err := events.Next()
	noError(t, err)
	noError(t, testCodec(t).to("countersign", schedule).FromPayloads(last.GetWorkflowExecutionCompletedEventAttributes().GetResult(), result))
}

//go:build record

package workflows

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/workflows/embedded"
)

// TestRecord runs each ending on a real server and writes its history, unless one
// is kept already. Run it when a workflow's steps change, and give what changed
// another name, so that the histories of before are kept:
//
//	go test -tags record -run TestRecord ./workflows
func TestRecord(t *testing.T) {
	DisableCache()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Namespace: "record", Logger: slog.New(slog.DiscardHandler)})
	noError(t, err)
	defer server.Stop()
	temporal, err := client.DialContext(t.Context(), Options(server.ClientOptions(client.Options{Namespace: "record", Identity: "recorder", Logger: quiet{}}), testCodec(t)))
	noError(t, err)
	defer temporal.Close()
	d := newTestbed(t, engine.SystemClock)
	c := NewClient(temporal, d.store, slog.New(slog.DiscardHandler))
	noError(t, c.Work(d.transitions, &engine.Retention{Store: d.store, Clock: engine.SystemClock}, d.notifications))
	defer c.Close(t.Context())
	d.transitions.Reports = c

	begin := func(name string, role engine.Role, change func(*engine.WorkflowInput)) engine.WorkflowInput {
		o := d.order(name, role)
		o.Request.TTLSeconds = 2
		if change != nil {
			change(&o)
		}
		_, err := c.Start(t.Context(), o)
		noError(t, err)
		return o
	}
	settle := func(o engine.WorkflowInput, kind engine.SettleKind, interrupted bool) {
		d.settle(o, kind)
		c.ReportSettlement(engine.SettlementReport{RequestID: o.Request.ID, TokenDigest: o.Token.Digest, Interrupted: interrupted})
	}
	settle(begin("consumed", engine.RoleOperator, nil), engine.Consumed, false)
	settle(begin("interrupted", engine.RoleOperator, nil), engine.Consumed, true)
	d.settle(begin("unreported", engine.RoleOperator, nil), engine.Consumed)
	settle(begin("revoked", engine.RoleOperator, nil), engine.Revoked, false)
	begin("expired", engine.RoleOperator, nil)
	begin("denied", engine.RoleViewer, nil)
	begin("cancelled", engine.RoleOperator, func(o *engine.WorkflowInput) { o.AnswerBy = time.Unix(0, 0) })
	recordApprovals(d, c, begin, settle)
	_, err = temporal.ExecuteWorkflow(addressed(t.Context(), retentionID), client.StartWorkflowOptions{ID: "retention", TaskQueue: TaskQueue}, retentionName, engine.RetentionAges{Tokens: time.Hour})
	noError(t, err)
	recordReminder(d, c, temporal, begin)
	_, err = temporal.ExecuteWorkflow(addressed(t.Context(), "notified"), client.StartWorkflowOptions{ID: "notified", TaskQueue: TaskQueue}, notifyName, sample())
	noError(t, err)
	recordMany(d, temporal)
	recordResumptions(d, c, temporal)
	for _, name := range recordings {
		noError(t, temporal.GetWorkflow(t.Context(), name, "").Get(t.Context(), nil))
		write(t, temporal, name)
	}
}

// recordApprovals runs each ending of a request that needs approval. Approvals
// expire after three seconds, and the claim window is as long.
func recordApprovals(d *testbed, c *Client, begin func(string, engine.Role, func(*engine.WorkflowInput)) engine.WorkflowInput, settle func(engine.WorkflowInput, engine.SettleKind, bool)) {
	p := engine.DefaultPolicy(project)
	p.Version, p.Approval = 1, engine.ApprovalRule{Mode: engine.ApprovalAll, RequiredApprovals: 1, TTLSeconds: 3, ClaimWindowSeconds: 3}
	noError(d.t, d.store.AddPolicy(d.t.Context(), p, record("policy")))
	ctx := d.t.Context()
	say := func(id string, decision engine.Decision) {
		b := voteOf(d.order(id, engine.RoleOperator), "a", decision)
		_, err := c.Vote(ctx, b)
		noError(d.t, err)
	}
	approved := func(id string) engine.WorkflowInput {
		o := begin(id, engine.RoleOperator, nil)
		say(id, engine.DecisionApprove)
		return o
	}
	claimed := func(o engine.WorkflowInput, n string, seconds int) engine.WorkflowInput {
		claim := claimOf(o, n)
		claim.TTLSeconds = seconds
		_, err := c.Claim(ctx, claim)
		noError(d.t, err)
		o.Token = claim.Token
		return o
	}
	begin("people-denied", engine.RoleOperator, nil)
	say("people-denied", engine.DecisionDeny)
	begin("people-approval-expired", engine.RoleOperator, nil)
	begin("people-cancelled", engine.RoleOperator, nil)
	_, err := c.Cancel(ctx, cancelOf(d.order("people-cancelled", engine.RoleOperator)))
	noError(d.t, err)
	approved("people-claim-expired")
	settle(claimed(approved("people-consumed"), "1", 30), engine.Consumed, false)
	again := claimed(approved("people-claimed-again"), "1", 30)
	settle(claimed(again, "2", 30), engine.Consumed, false)
	claimed(approved("people-token-expired"), "1", 1)
	_, err = c.Cancel(ctx, cancelOf(approved("people-approved-cancelled")))
	noError(d.t, err)
	settle(claimed(approved("people-revoked"), "1", 30), engine.Revoked, false)
	settle(claimed(approved("people-interrupted"), "1", 30), engine.Consumed, true)
}

// recordResumptions records requests that lose their workflow in each state, and the
// reconciliation that finds one of them.
func recordResumptions(d *testbed, c *Client, temporal client.Client) {
	ctx := d.t.Context()
	p := engine.DefaultPolicy(project)
	p.Version, p.Approval = 3, engine.ApprovalRule{Mode: engine.ApprovalAll, RequiredApprovals: 1, TTLSeconds: 60, ClaimWindowSeconds: 3}
	noError(d.t, d.store.AddPolicy(ctx, p, record("resumptions")))
	decided := func(id string) engine.WorkflowInput {
		o := d.order(id, engine.RoleOperator)
		d.decide(o)
		return o
	}
	approved := func(id string) engine.WorkflowInput {
		o := decided(id)
		_, err := d.transitions.Vote(ctx, voteOf(o, "a", engine.DecisionApprove))
		noError(d.t, err)
		return o
	}
	pending := decided("resumed-pending")
	_, err := c.Vote(ctx, voteOf(pending, "a", engine.DecisionDeny))
	noError(d.t, err)
	approved("resumed-approved")
	issued := approved("resumed-issued")
	claim := claimOf(issued, "1")
	claim.TTLSeconds = 1
	_, err = d.transitions.Claim(ctx, claim)
	noError(d.t, err)
	_, err = temporal.ExecuteWorkflow(addressed(ctx, reconciliationID), client.StartWorkflowOptions{ID: "reconciliation", TaskQueue: TaskQueue}, reconcileWorkflowName)
	noError(d.t, err)
	noError(d.t, temporal.GetWorkflow(ctx, "reconciliation", "").Get(ctx, nil))
}

// recordReminder records requests whose approvers vote after a reminder, and requests
// that end before it.
func recordReminder(d *testbed, c *Client, temporal client.Client, begin func(string, engine.Role, func(*engine.WorkflowInput)) engine.WorkflowInput) {
	noError(d.t, temporal.GetWorkflow(d.t.Context(), "people-interrupted", "").Get(d.t.Context(), nil))
	p := engine.DefaultPolicy(project)
	p.Version, p.Approval = 2, engine.ApprovalRule{Mode: engine.ApprovalAll, RequiredApprovals: 1, TTLSeconds: 60, ClaimWindowSeconds: 3}
	noError(d.t, d.store.AddPolicy(d.t.Context(), p, record("longer")))
	d.notifying(d.t, "http://127.0.0.1:1") // "notified" finds it too, and is refused
	d.notifications.Notifier = refusing{}
	const id = "people-reminded"
	begin(id, engine.RoleOperator, nil)
	for events, markers := temporal.GetWorkflowHistory(d.t.Context(), id, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT), 0; markers < 2; {
		e, err := events.Next()
		noError(d.t, err)
		if e.EventType == enums.EVENT_TYPE_MARKER_RECORDED {
			markers++ // the decision, then the reminder
		}
	}
	b := voteOf(d.order(id, engine.RoleOperator), "a", engine.DecisionDeny)
	_, err := c.Vote(d.t.Context(), b)
	noError(d.t, err)
}

// recordMany makes one delivery more than one workflow can: to the target of
// recordReminder, and a mail to each of many users. It keeps the history of the
// second workflow.
func recordMany(d *testbed, temporal client.Client) {
	ctx := d.t.Context()
	noError(d.t, temporal.GetWorkflow(ctx, "notified", "").Get(ctx, nil)) // it is refused, and these are not
	d.notifications.Notifier = &outbox{to: map[string]int{}}
	_, _, err := d.notifications.CreateTarget(ctx, engine.Caller{Project: engine.Project{ID: project}}, "mail", "smtp://mail", engine.NotificationEvents)
	noError(d.t, err)
	d.approvers(maxDeliveries)
	_, err = temporal.ExecuteWorkflow(addressed(ctx, "notified-many"), client.StartWorkflowOptions{ID: "notified-many", TaskQueue: TaskQueue}, notifyName, sample())
	noError(d.t, err)
	noError(d.t, temporal.GetWorkflow(ctx, "notified-many", "").Get(ctx, nil)) // its parts are there then
}

func write(t *testing.T, temporal client.Client, id string) {
	path := historyOf(id)
	if _, err := os.Stat(path); err == nil {
		return
	}
	events := temporal.GetWorkflowHistory(context.Background(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	var h history.History
	for events.HasNext() {
		e, err := events.Next()
		noError(t, err)
		h.Events = append(h.Events, e)
	}
	text, err := protojson.MarshalOptions{Multiline: true}.Marshal(&h)
	noError(t, err)
	noError(t, os.WriteFile(path, text, 0o644))
}

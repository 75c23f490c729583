package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/countersign-dev/countersign/engine"
)

// Client starts and informs workflows. Make one with [NewClient], run its worker
// with [Client.Work], and end both with [Client.Close].
type Client struct {
	temporal client.Client
	requests engine.Requests
	waiting  waiters
	reports  *reporter
	reuses   *reuses
	worker   worker.Worker
	log      *slog.Logger
}

// NewClient works through a Temporal client made with [Options], which Close
// does not close.
func NewClient(temporal client.Client, requests engine.Requests, log *slog.Logger) *Client {
	return &Client{temporal: temporal, requests: requests, reports: newReporter(temporal, log), reuses: newReuses(log), log: log}
}

// Work starts a worker in this process. Mints on the same client then run on it
// at once, without a dispatch through the server.
func (c *Client) Work(downloads *engine.Downloads, notifications *engine.Notifications) error {
	a := &activities{downloads: downloads, notifications: notifications, tell: c.tell, waiting: &c.waiting, reports: c.reports}
	w := worker.New(c.temporal, TaskQueue, workerOptions())
	registerWorkflows(w)
	registerActivities(w, a)
	if err := w.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	c.worker = w
	c.reuses.start(func(ctx context.Context, t engine.Token) error { return notifications.TokenReused(ctx, t, c.tell) })
	return nil
}

// taskTimeout is when a task goes to another worker, or the same one restarted:
// what a crash in the middle of one costs.
const taskTimeout = 2 * time.Second

// Start implements [engine.Workflows].
func (c *Client) Start(ctx context.Context, o engine.WorkflowInput) (engine.Request, error) {
	r := o.Request
	answer, forget := c.waiting.expect(r.ID)
	defer forget()
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       r.ID,
		TaskQueue:                                TaskQueue,
		EnableEagerStart:                         true,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowTaskTimeout:                      taskTimeout,
	}, downloadName, o)
	if _, started := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); started {
		return engine.Request{}, engine.CodeExists
	}
	if err != nil {
		return engine.Request{}, fmt.Errorf("start workflow: %w", err)
	}
	return c.await(ctx, r, answer)
}

// elsewhereAfter is when a caller stops counting on this process's own worker.
const elsewhereAfter = 250 * time.Millisecond

// await takes the decision from this process or, if another node's worker makes
// it, from the store.
func (c *Client) await(ctx context.Context, r engine.Request, answer <-chan engine.Request) (engine.Request, error) {
	here := time.NewTimer(elsewhereAfter)
	defer here.Stop()
	select {
	case decided := <-answer:
		return decided, nil
	case <-here.C:
	case <-ctx.Done():
	}
	return engine.AwaitRequest(ctx, c.requests, r.ProjectID, r.ID)
}

// Vote implements [engine.Workflows].
func (c *Client) Vote(ctx context.Context, b engine.VoteCommand) (engine.Request, error) {
	return ask(ctx, c.temporal, b.RequestID, voteUpdate, b)
}

// Cancel implements [engine.Workflows].
func (c *Client) Cancel(ctx context.Context, w engine.CancelCommand) (engine.Request, error) {
	return ask(ctx, c.temporal, w.RequestID, cancelUpdate, w)
}

// Claim implements [engine.Workflows].
func (c *Client) Claim(ctx context.Context, o engine.ClaimCommand) (engine.Request, error) {
	return ask(ctx, c.temporal, o.Token.RequestID, claimUpdate, o)
}

// ask sends an Update and waits for its answer. A workflow that is gone has
// ended its request.
func ask(ctx context.Context, temporal client.Client, requestID, name string, in any) (out engine.Request, err error) {
	handle, err := temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: engine.NewID("upd"), WorkflowID: requestID, UpdateName: name, Args: []any{in},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &out)
	}
	if _, ended := errors.AsType[*serviceerror.NotFound](err); ended {
		return out, engine.Errorf(engine.CodeNotPending, "this request has ended meanwhile").Because(err)
	}
	if refused, ok := errors.AsType[*sdk.ApplicationError](err); ok && refused.Type() != "" {
		return out, engine.Errorf(engine.Code(refused.Type()), "%s", refused.Message())
	}
	if err != nil {
		return out, engine.Errorf(engine.CodeUnavailable, "no answer could be had in time; look at the request before you try again").
			With("request_id", requestID).Because(err)
	}
	return out, nil
}

// Settled implements [engine.Workflows].
func (c *Client) ReportSettlement(requestID string, interrupted bool) {
	c.reports.add(report{requestID, settledNote{Interrupted: interrupted}})
}

// Reused implements [engine.Workflows].
func (c *Client) ReportReuse(t engine.Token) { c.reuses.add(t) }

// Report implements [engine.Workflows].
func (c *Client) PendingReport(requestID string) (interrupted, known bool) {
	note, known := c.reports.pending(requestID)
	return note.Interrupted, known
}

// Ready tells whether Temporal answers.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	if err != nil {
		return fmt.Errorf("temporal: %w", err)
	}
	return nil
}

// Close delivers the reports still waiting, until ctx ends, and stops the worker.
func (c *Client) Close(ctx context.Context) {
	if left := c.reports.close(ctx); left > 0 {
		c.log.Warn("token reports were not delivered before shutdown; their requests end by timer", "reports", left)
	}
	c.reuses.close()
	if c.worker != nil {
		c.worker.Stop()
	}
}

package workflows

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	sdk "go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/countersign-dev/countersign/engine"
)

// Client starts workflows and sends them commands and reports. Make one with
// [NewClient], run its worker with [Client.Work], and end both with
// [Client.Close].
type Client struct {
	temporal client.Client
	requests Requests
	resumed  atomic.Uint64
	callers  waitingCallers
	reports  *reporter
	reuses   *reuseNotifier
	worker   worker.Worker
	clock    engine.Clock
	log      *slog.Logger
}

// Requests reads requests from the store, which is authoritative; [engine.Store]
// documents the methods.
type Requests interface {
	engine.RequestCompleter
	Request(ctx context.Context, projectID, id string) (engine.Request, error)
	UnendedRequests(ctx context.Context, page engine.Page) ([]engine.Request, string, error)
}

// NewClient works through a Temporal client made with [Options], which Close does
// not close.
func NewClient(temporal client.Client, requests Requests, log *slog.Logger) *Client {
	c := &Client{temporal: temporal, requests: requests, clock: engine.SystemClock, reuses: newReuseNotifier(log), log: log}
	c.reports = newReporter(temporal, c.resumeIfOpen, log)
	return c
}

// Work starts a worker in this process. Mints through the same client then run on
// it at once, without a dispatch by the server.
func (c *Client) Work(transitions *engine.Transitions, retention *engine.Retention, notifications *engine.Notifications) error {
	DisableCache()
	a := &activities{
		transitions: transitions, retention: retention, notifications: notifications,
		dispatch: c.dispatch, reconcile: c.reconcile, callers: &c.callers, reports: c.reports,
	}
	w := worker.New(c.temporal, TaskQueue, workerOptions())
	registerWorkflows(w)
	registerActivities(w, a)
	if err := w.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	c.worker = w
	c.reuses.start(func(ctx context.Context, t engine.Token) error { return notifications.TokenReused(ctx, t, c.dispatch) })
	return nil
}

var cacheDisabled sync.Once

// DisableCache turns the SDK's cache of workflows off for this process. Work calls
// it; where an embedded Temporal server runs in the process, call it before that
// starts, because the server's own workers would make the cache.
//
// No workflow stays in memory between its steps. A history has some twenty events,
// which the server keeps in memory, so replaying it costs too little to measure.
// With a cache, an Update to a workflow that the cache has dropped fails its first
// attempt: the history that the worker loads lacks two events of a task that the
// server has not stored yet (temporal issue 7741), and the caller waits several
// times as long. After the death of a node, callers would also wait for what it
// had cached.
func DisableCache() { cacheDisabled.Do(func() { worker.SetStickyWorkflowCacheSize(0) }) }

// taskTimeout is when a workflow task goes to another worker, or to the same one
// after a restart: it bounds how long a crash in the middle of a task delays it.
const taskTimeout = 2 * time.Second

// Start implements [engine.Workflows].
func (c *Client) Start(ctx context.Context, in engine.WorkflowInput) (engine.Request, error) {
	r := in.Request
	decision, remove := c.callers.add(r.ID)
	defer remove()
	_, err := c.temporal.ExecuteWorkflow(addressed(ctx, r.ID), client.StartWorkflowOptions{
		ID:                                       r.ID,
		TaskQueue:                                TaskQueue,
		EnableEagerStart:                         true,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowTaskTimeout:                      taskTimeout,
	}, downloadName, in)
	if _, started := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); started {
		return engine.Request{}, engine.CodeExists
	}
	if err != nil {
		return engine.Request{}, fmt.Errorf("start workflow: %w", err)
	}
	return c.await(ctx, r, decision)
}

// pollStoreAfter is how long a caller waits for this process's own worker before
// it also looks for a decision that another node has stored.
const pollStoreAfter = 250 * time.Millisecond

// await receives the decision from this process or, if another node's worker
// makes it, reads it from the store.
func (c *Client) await(ctx context.Context, r engine.Request, decision <-chan engine.Request) (engine.Request, error) {
	timer := time.NewTimer(pollStoreAfter)
	defer timer.Stop()
	select {
	case decided := <-decision:
		return decided, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return engine.AwaitRequest(ctx, c.requests, r.ProjectID, r.ID)
}

// Vote implements [engine.Workflows].
func (c *Client) Vote(ctx context.Context, command engine.VoteCommand) (engine.Request, error) {
	return c.update(ctx, voteUpdate, command)
}

// Cancel implements [engine.Workflows].
func (c *Client) Cancel(ctx context.Context, command engine.CancelCommand) (engine.Request, error) {
	return c.update(ctx, cancelUpdate, command)
}

// Claim implements [engine.Workflows].
func (c *Client) Claim(ctx context.Context, command engine.ClaimCommand) (engine.Request, error) {
	return c.update(ctx, claimUpdate, command)
}

// update sends an Update and waits for its result. A request whose workflow is not
// found has ended, or gets a workflow. A command that is refused may have been carried out
// before it was sent again; the store tells.
func (c *Client) update(ctx context.Context, name string, command engine.Command) (engine.Request, error) {
	projectID, requestID := command.For()
	r, err := c.sendWhenReady(ctx, requestID, name, command)
	for try := 1; missing(err) && try < updateTries; try++ {
		if err = c.resumeIfOpen(ctx, projectID, requestID); err == nil {
			r, err = c.sendWhenReady(ctx, requestID, name, command)
		}
	}
	refused, isRefused := errors.AsType[*sdk.ApplicationError](err)
	if isRefused || errors.Is(err, errEnded) {
		if stored, readErr := c.requests.Request(ctx, projectID, requestID); readErr == nil && command.DoneIn(stored) {
			return stored, nil
		}
	}
	if errors.Is(err, errEnded) {
		return r, errEnded
	}
	if isRefused && refused.Type() != "" {
		return r, engine.Errorf(engine.Code(refused.Type()), "%s", refused.Message())
	}
	if err != nil {
		return r, engine.Errorf(engine.CodeUnavailable, "the request's workflow did not answer in time; look at the request before you try again").
			With("request_id", requestID).Because(err)
	}
	return r, nil
}

// ReportSettlement implements [engine.Workflows].
func (c *Client) ReportSettlement(r engine.SettlementReport) { c.reports.add(r) }

// PendingReport implements [engine.SettlementReports].
func (c *Client) PendingReport(requestID string) (engine.SettlementReport, bool) {
	return c.reports.pending(requestID)
}

// updateTries is how often a command is sent, if its request's workflow is not found.
const updateTries = 3

// missing reports whether no workflow runs under an id.
func missing(err error) bool {
	_, ok := errors.AsType[*serviceerror.NotFound](err)
	return ok
}

// readyPause is the pause before a command is sent again to a workflow that was not ready.
const readyPause = 100 * time.Millisecond

// sendWhenReady sends an Update until the workflow is ready for it, or ctx ends. Temporal
// refuses an Update whose workflow task failed, which happens when a report arrives while
// the Update is carried out that ends the workflow. It also refuses every Update after
// three failed tasks, as when several nodes were killed one after the other. Both pass,
// and a command that is carried out twice changes nothing the second time.
func (c *Client) sendWhenReady(ctx context.Context, requestID, name string, command engine.Command) (engine.Request, error) {
	for {
		r, err := c.send(ctx, requestID, name, command)
		if _, unready := errors.AsType[*serviceerror.WorkflowNotReady](err); !unready {
			return r, err
		}
		select {
		case <-time.After(readyPause):
		case <-ctx.Done():
			return r, err
		}
	}
}

// send sends an Update once.
func (c *Client) send(ctx context.Context, requestID, name string, command engine.Command) (r engine.Request, err error) {
	handle, err := c.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		UpdateID: engine.NewID("upd"), WorkflowID: requestID, UpdateName: name, Args: []any{command},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = handle.Get(ctx, &r)
	}
	if err == nil && r.ID != requestID { // the codec cannot tell
		err = fmt.Errorf("the answer is that of request %s", r.ID)
	}
	return r, err
}

// ReportWithin sets in what time a backlog of reports is sent, 5 minutes by default.
// Where other nodes run workflows, it must be shorter than the engine waits for the
// report of a token whose life is over (30 seconds): they do not know what waits here.
func (c *Client) ReportWithin(within time.Duration) {
	c.reports.mu.Lock()
	defer c.reports.mu.Unlock()
	c.reports.within = within
}

// ReportReuse implements [engine.Workflows].
func (c *Client) ReportReuse(t engine.Token) { c.reuses.add(t) }

// Ready returns an error unless Temporal answers.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
	if err != nil {
		return fmt.Errorf("temporal: %w", err)
	}
	return nil
}

// Close delivers the reports that still wait, until ctx ends, and stops the
// worker.
func (c *Client) Close(ctx context.Context) {
	if left := c.reports.close(ctx); left > 0 {
		c.log.Warn("settlement reports were not delivered before shutdown; their requests end when their tokens' lives are over", "reports", left)
	}
	c.reuses.close()
	if c.worker != nil {
		c.worker.Stop()
	}
}

var (
	_ engine.Workflows         = (*Client)(nil)
	_ engine.SettlementReports = (*Client)(nil)
)

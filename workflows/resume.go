package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// Resume takes the place of a [Download] that Temporal has lost, under the same id. It
// begins in the state that the store says.
func Resume(ctx workflow.Context, input engine.ResumeCommand) error {
	d := newDownload(ctx)
	d.resume(ctx, input)
	return d.untilEnd(ctx)
}

// resume loads the request. People are told again that it waits for them, because the
// notification may be lost too. A reminder that is due already is left out then, and
// so is the approval of a request that was claimed: its requester knows of it.
func (d *download) resume(ctx workflow.Context, input engine.ResumeCommand) {
	d.fail(d.transition(ctx, resumeName, input))
	at, _ := d.request.RemindAt()
	d.reminded = !workflow.Now(ctx).Before(at)
	d.announced = d.announced || d.in(engine.StatusIssued)
}

func (a *activities) resume(ctx context.Context, c engine.ResumeCommand) (engine.TransitionResult, error) {
	result, err := a.transitions.Resume(ctx, c)
	if err != nil || result.Request.Status == engine.StatusIssued {
		return result, permanent(err)
	}
	if err := a.notifications.ApprovalRequested(ctx, result.Request, a.dispatch); err != nil {
		return result, err
	}
	return a.result(ctx, result, nil)
}

// resume starts the workflow of a request, unless one runs.
func (c *Client) resume(ctx context.Context, projectID, requestID string) (started bool, err error) {
	_, err = c.temporal.ExecuteWorkflow(addressed(ctx, requestID), client.StartWorkflowOptions{
		ID:                                       requestID,
		TaskQueue:                                TaskQueue,
		EnableEagerStart:                         true,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowTaskTimeout:                      taskTimeout,
	}, resumeWorkflowName, engine.ResumeCommand{ProjectID: projectID, RequestID: requestID})
	if _, runs := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); runs {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("resume request %s: %w", requestID, err)
	}
	return true, nil
}

// Resumed is how many requests had no workflow and got one from this process.
func (c *Client) Resumed() uint64 { return c.resumed.Load() }

// resumeIfOpen resumes a request for whose command or report no workflow was found. It returns
// errEnded if the request has ended.
func (c *Client) resumeIfOpen(ctx context.Context, projectID, requestID string) error {
	_, err := c.unended(ctx, projectID, requestID)
	if err == nil {
		_, err = c.resumeLost(ctx, projectID, requestID)
	}
	return err
}

// resumeLost is resume for a request whose workflow Temporal should have.
func (c *Client) resumeLost(ctx context.Context, projectID, requestID string) (started bool, err error) {
	if started, err = c.resume(ctx, projectID, requestID); started {
		c.resumed.Add(1)
		c.log.Warn("a request had no workflow and got one", "request_id", requestID)
	}
	return started, err
}

// unended reads a request. It returns errEnded if the request has ended.
func (c *Client) unended(ctx context.Context, projectID, requestID string) (engine.Request, error) {
	r, err := c.requests.Request(ctx, projectID, requestID)
	if errors.Is(err, engine.CodeNotFound) || err == nil && r.Status.Ended() {
		return r, errEnded
	}
	return r, err
}

// reconciliationID names the schedule, so that a namespace has only one (binding.go).
const reconciliationID = "countersign-reconciliation"

// Reconciled counts the requests that have not ended, and those of them that had no
// workflow.
type Reconciled struct {
	Requests int `json:"requests"`
	Resumed  int `json:"resumed"`
}

// Reconcile gives each request that has not ended a workflow, if Temporal has lost it.
func Reconcile(ctx workflow.Context) (Reconciled, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 6 * time.Hour, HeartbeatTimeout: time.Minute,
	})
	var done Reconciled
	err := workflow.ExecuteActivity(ctx, reconcileName).Get(ctx, &done)
	return done, err
}

// reconcilePage bounds what is read at once.
const reconcilePage = 200

// reconcile compares all requests with their workflows.
func (c *Client) reconcile(ctx context.Context) (done Reconciled, err error) {
	return c.eachUnended(ctx, c.reconcileOne, func(done Reconciled) { activity.RecordHeartbeat(ctx, done) })
}

// StartAll gives each request that has not ended a workflow, in a Temporal that has none
// of them yet, and where no worker runs. It may be repeated. It tells its progress.
func (c *Client) StartAll(ctx context.Context, progress func(Reconciled)) (Reconciled, error) {
	return c.eachUnended(ctx, func(ctx context.Context, r engine.Request) (bool, error) { return c.resume(ctx, r.ProjectID, r.ID) }, progress)
}

// eachUnended tries every request, so that one which fails does not keep the others from
// their workflows.
func (c *Client) eachUnended(ctx context.Context, start func(context.Context, engine.Request) (bool, error), progress func(Reconciled)) (done Reconciled, err error) {
	for page := (engine.Page{Limit: reconcilePage}); ; {
		requests, next, listErr := c.requests.UnendedRequests(ctx, page)
		if listErr != nil {
			return done, fmt.Errorf("list the requests that have not ended: %w", listErr)
		}
		for _, r := range requests {
			started, failure := start(ctx, r)
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			if failure != nil {
				err = failure
				c.log.Error("a request that has not ended could not get a workflow", "request_id", r.ID, "error", failure)
			}
			if done.Requests++; started {
				done.Resumed++
			}
			progress(done)
		}
		if page.Cursor = next; next == "" {
			c.log.Info("the requests that have not ended were compared with their workflows", "requests", done.Requests, "resumed", done.Resumed)
			return done, err
		}
	}
}

// reconcileOne resumes a request that has no workflow. A workflow that let the
// request's deadline pass looks at the request again.
func (c *Client) reconcileOne(ctx context.Context, r engine.Request) (started bool, err error) {
	r, err = c.unended(ctx, r.ProjectID, r.ID)
	if errors.Is(err, errEnded) {
		return false, nil // meanwhile
	}
	if err == nil {
		started, err = c.resumeLost(ctx, r.ProjectID, r.ID)
	}
	if started || err != nil || !r.Overdue(c.clock()) {
		return started, err
	}
	err = c.temporal.SignalWorkflow(addressed(ctx, r.ID), r.ID, "", settledSignal, engine.SettlementReport{ProjectID: r.ProjectID, RequestID: r.ID})
	if missing(err) {
		return false, nil // it has ended meanwhile
	}
	return false, err
}

// Reconcile has [Reconcile] run now, on one node at a time, after [Client.Bind] has
// scheduled it for every hour.
func (c *Client) Reconcile(ctx context.Context) error {
	err := c.temporal.ScheduleClient().GetHandle(ctx, reconciliationID).
		Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP})
	if err != nil {
		return fmt.Errorf("start reconciliation: %w", err)
	}
	return nil
}

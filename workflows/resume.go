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
	"go.temporal.io/sdk/temporal"
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
	c.resumed.Add(1)
	c.log.Warn("a request had no workflow and got one", "request_id", requestID)
	return true, nil
}

// Resumed is how many requests had no workflow and got one from this process.
func (c *Client) Resumed() uint64 { return c.resumed.Load() }

// resumeIfOpen resumes a request for whose command no workflow was found. It returns
// errEnded if the request has ended.
func (c *Client) resumeIfOpen(ctx context.Context, projectID, requestID string) error {
	r, err := c.requests.Request(ctx, projectID, requestID)
	if errors.Is(err, engine.CodeNotFound) || err == nil && r.Status.Ended() {
		return errEnded
	}
	if err == nil {
		_, err = c.resume(ctx, projectID, requestID)
	}
	return err
}

// reconciliationID names the schedule, so that an installation has only one.
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

func (c *Client) reconcile(ctx context.Context) (done Reconciled, err error) {
	for page := (engine.Page{Limit: reconcilePage}); ; {
		requests, next, err := c.requests.UnendedRequests(ctx, page)
		if err != nil {
			return done, fmt.Errorf("list the requests that have not ended: %w", err)
		}
		for _, r := range requests {
			started, err := c.reconcileOne(ctx, r)
			if err != nil {
				return done, err
			}
			if done.Requests++; started {
				done.Resumed++
			}
			activity.RecordHeartbeat(ctx, done)
		}
		if next == "" {
			c.log.Info("every request that has not ended has a workflow", "requests", done.Requests, "resumed", done.Resumed)
			return done, nil
		}
		page.Cursor = next
	}
}

// reconcileOne resumes a request that has no workflow. A workflow that let the
// request's deadline pass looks at the request again.
func (c *Client) reconcileOne(ctx context.Context, r engine.Request) (started bool, err error) {
	started, err = c.resume(ctx, r.ProjectID, r.ID)
	if started || err != nil || !r.Overdue(c.clock()) {
		return started, err
	}
	err = c.temporal.SignalWorkflow(addressed(ctx, r.ID), r.ID, "", settledSignal, engine.SettlementReport{RequestID: r.ID})
	if missing(err) {
		return false, nil // it has ended meanwhile
	}
	return false, err
}

// ScheduleReconciliation has Reconcile run now and every hour, on one node at a time.
func (c *Client) ScheduleReconciliation(ctx context.Context) error {
	ctx = addressed(ctx, reconciliationID)
	_, err := c.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:                 reconciliationID,
		Spec:               client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Overlap:            enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		Action:             &client.ScheduleWorkflowAction{ID: reconciliationID, Workflow: reconcileWorkflowName, TaskQueue: TaskQueue},
		TriggerImmediately: true,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = c.temporal.ScheduleClient().GetHandle(ctx, reconciliationID).Trigger(ctx, client.ScheduleTriggerOptions{Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP})
	}
	if err != nil {
		return fmt.Errorf("schedule reconciliation: %w", err)
	}
	return nil
}

package workflows

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// A delivery that failed is tried again after a second, then after ever longer
// times, for a week. Temporal keeps the timers: a waiting delivery costs neither a
// worker nor history.
const (
	deliverFor      = 7 * 24 * time.Hour
	deliverTimeout  = 30 * time.Second // longer than a notifier takes, so that the notifier says what was wrong
	firstRetry      = time.Second
	longestRetry    = 10 * time.Minute
	activityTimeout = 10 * time.Second
)

// maxDeliveries is how many deliveries one workflow has under way. Temporal refuses
// a workflow that has more than 2,000, and then no user would be notified.
const maxDeliveries = 200

// Notify delivers one notification to every target, each independently. It is a
// workflow beside the request's, under the notification's id, and no request waits
// for it. It ends when each target has the message or will never get it. Many
// deliveries are divided among child workflows, so that none waits for a target
// that is down.
func Notify(ctx workflow.Context, n engine.Notification) error {
	var deliveries []engine.Delivery
	if err := workflow.ExecuteActivity(withRetries(ctx, activityTimeout, forever), listDeliveriesName, n).Get(ctx, &deliveries); err != nil {
		return err
	}
	if len(deliveries) <= maxDeliveries {
		return NotifyPart(ctx, n, deliveries)
	}
	var parts []workflow.Future
	for part := range slices.Chunk(deliveries, maxDeliveries) {
		id := fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).WorkflowExecution.ID, len(parts))
		child := workflow.WithChildOptions(workflow.WithValue(ctx, boundWorkflow{}, id), workflow.ChildWorkflowOptions{WorkflowID: id})
		parts = append(parts, workflow.ExecuteChildWorkflow(child, notifyPartName, n, part))
	}
	for _, part := range parts {
		if err := part.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("part of a notification was not delivered", "notification", n.ID, "event", n.Event, "error", err)
		}
	}
	return nil
}

// NotifyPart delivers a notification to some targets, all at the same time.
func NotifyPart(ctx workflow.Context, n engine.Notification, deliveries []engine.Delivery) error {
	delivering := withRetries(ctx, deliverTimeout, deliverFor)
	var sent []workflow.Future
	for _, to := range deliveries {
		sent = append(sent, workflow.ExecuteActivity(delivering, deliverName, n, to))
	}
	for i, one := range sent {
		if err := one.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("a notification did not reach its target and is not tried again",
				"notification", n.ID, "event", n.Event, "target", deliveries[i].TargetID, "error", err)
		}
	}
	return nil
}

// withRetries are the options of an activity that does not hold a request up:
// attempts with a timeout each, for a time in all.
func withRetries(ctx workflow.Context, timeout, total time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: timeout, ScheduleToCloseTimeout: total,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: firstRetry, BackoffCoefficient: 2, MaximumInterval: longestRetry,
			MaximumAttempts: math.MaxInt32, // the time is the limit; 0 would be ten in the test suite
		},
	})
}

// remindApprovers notifies approvers again, once, while the request waits for
// them. It runs beside awaitApproval, which does not wait for it.
func (d *download) remindApprovers(ctx workflow.Context) {
	at, ok := d.request.RemindAt()
	if !ok || d.reminded {
		return
	}
	settled := func() bool { return !d.in(engine.StatusPendingApproval) }
	if early, err := workflow.AwaitWithTimeout(ctx, at.Sub(workflow.Now(ctx)), settled); early || err != nil {
		return
	}
	if err := workflow.ExecuteLocalActivity(untilSuccess(ctx), remindApproversName, d.request).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("approvers could not be reminded", "request", d.request.ID, "error", err)
	}
}

// announceApproval has people notified of a settled approval, beside the request:
// the approver who settled it does not wait.
func (d *download) announceApproval(ctx workflow.Context) {
	settled := d.request
	d.announcements.Add(1)
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer d.announcements.Done()
		if err := workflow.ExecuteActivity(withRetries(ctx, activityTimeout, forever), announceApprovalName, settled).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("people could not be notified of a settled approval", "request", settled.ID, "error", err)
		}
	})
}

func (a *activities) announceApproval(ctx context.Context, settled engine.Request) error {
	return a.notifications.ApprovalSettled(ctx, settled, a.dispatch)
}

func (a *activities) remindApprovers(ctx context.Context, pending engine.Request) error {
	return a.notifications.RemindApprovers(ctx, pending, a.dispatch)
}

func (a *activities) listDeliveries(ctx context.Context, n engine.Notification) ([]engine.Delivery, error) {
	return a.notifications.Deliveries(ctx, n)
}

func (a *activities) deliver(ctx context.Context, n engine.Notification, to engine.Delivery) error {
	err := a.notifications.Deliver(ctx, n, to)
	if errors.Is(err, engine.CodeInvalidRequest) {
		return permanent(err)
	}
	return err
}

// dispatch starts the workflow of a notification, unless it was started before.
func (c *Client) dispatch(ctx context.Context, n engine.Notification) error {
	id := "notify/" + n.ID
	_, err := c.temporal.ExecuteWorkflow(addressed(ctx, id), client.StartWorkflowOptions{
		ID:                                       id,
		TaskQueue:                                TaskQueue,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, notifyName, n)
	if _, started := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); started || err == nil {
		return nil
	}
	return fmt.Errorf("start notification: %w", err)
}

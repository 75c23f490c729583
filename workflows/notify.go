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

// A try that failed is repeated after a second, then ever later, for a week. The
// service keeps the time: what waits costs neither a worker nor history.
const (
	deliverFor    = 7 * 24 * time.Hour
	deliverTry    = 30 * time.Second // beyond what a notifier takes, so that it says what was wrong
	firstRetry    = time.Second
	slowestRetry  = 10 * time.Minute
	listTargetsIn = 10 * time.Second
)

// deliveriesAtOnce is how many deliveries one workflow has under way. Temporal
// refuses a workflow more than 2,000, and then nobody would be told.
const deliveriesAtOnce = 200

// Notify brings one notification to every target, each on its own. No request
// waits for it: it is a workflow beside the request's, under the notification's
// id, and ends when each target has the message or will never get it. Where there
// are many, each part of them has a workflow of its own, so that none waits for
// another that is down.
func Notify(ctx workflow.Context, n engine.Notification) error {
	var deliveries []engine.Delivery
	if err := workflow.ExecuteActivity(retried(ctx, listTargetsIn, forever), targetsName, n).Get(ctx, &deliveries); err != nil {
		return err
	}
	if len(deliveries) <= deliveriesAtOnce {
		return NotifyPart(ctx, n, deliveries)
	}
	var parts []workflow.Future
	for part := range slices.Chunk(deliveries, deliveriesAtOnce) {
		named := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
			WorkflowID: fmt.Sprintf("%s/%d", workflow.GetInfo(ctx).WorkflowExecution.ID, len(parts)),
		})
		parts = append(parts, workflow.ExecuteChildWorkflow(named, notifyPartName, n, part))
	}
	for _, part := range parts {
		if err := part.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Error("a part of a notification was broken off", "notification", n.ID, "event", n.Event, "error", err)
		}
	}
	return nil
}

// NotifyPart brings a notification to some targets, all at once.
func NotifyPart(ctx workflow.Context, n engine.Notification, deliveries []engine.Delivery) error {
	delivering := retried(ctx, deliverTry, deliverFor)
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

// retried are the options of an activity beside the requests: tries of a length,
// for so long in all.
func retried(ctx workflow.Context, try, total time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: try, ScheduleToCloseTimeout: total,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: firstRetry, BackoffCoefficient: 2, MaximumInterval: slowestRetry,
			MaximumAttempts: math.MaxInt32, // the time is the limit; 0 would be ten in the test suite
		},
	})
}

// remind asks people again while the request waits for them, once. It runs
// beside the wait, so that nothing waits for it.
func (d *download) remind(ctx workflow.Context) {
	at, ok := d.request.RemindAt()
	if !ok {
		return
	}
	moved := func() bool { return d.request.Status != engine.StatusPendingApproval }
	if early, err := workflow.AwaitWithTimeout(ctx, at.Sub(workflow.Now(ctx)), moved); early || err != nil {
		return
	}
	if err := workflow.ExecuteLocalActivity(local(ctx), remindName, d.request).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("approvers could not be reminded", "request", d.request.ID, "error", err)
	}
}

// announce has people told of a settled approval, beside the request: whoever
// settled it does not wait.
func (d *download) announce(ctx workflow.Context) {
	settled := d.request
	d.telling.Add(1)
	workflow.Go(ctx, func(ctx workflow.Context) {
		defer d.telling.Done()
		if err := workflow.ExecuteActivity(retried(ctx, listTargetsIn, forever), announceName, settled).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Warn("nobody could be told of a settled approval", "request", settled.ID, "error", err)
		}
	})
}

func (a *activities) announce(ctx context.Context, settled engine.Request) error {
	return a.notifications.ApprovalSettled(ctx, settled, a.tell)
}

func (a *activities) remind(ctx context.Context, waiting engine.Request) error {
	return a.notifications.RemindApprovers(ctx, waiting, a.tell)
}

func (a *activities) targets(ctx context.Context, n engine.Notification) ([]engine.Delivery, error) {
	return a.notifications.Deliveries(ctx, n)
}

func (a *activities) deliver(ctx context.Context, n engine.Notification, to engine.Delivery) error {
	err := a.notifications.Deliver(ctx, n, to)
	if errors.Is(err, engine.CodeInvalidRequest) {
		return refusal(err)
	}
	return err
}

// tell starts the workflow of a notification, unless it was started before.
func (c *Client) tell(ctx context.Context, n engine.Notification) error {
	_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                                       "notify/" + n.ID,
		TaskQueue:                                TaskQueue,
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, notifyName, n)
	if _, told := errors.AsType[*serviceerror.WorkflowExecutionAlreadyStarted](err); told || err == nil {
		return nil
	}
	return fmt.Errorf("start notification: %w", err)
}

package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// retentionID names the schedule, so that an installation has only one.
const retentionID = "countersign-retention"

// Retention deletes what has been kept long enough.
func Retention(ctx workflow.Context, ages engine.RetentionAges) (engine.Purged, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 6 * time.Hour, HeartbeatTimeout: 5 * time.Minute,
	})
	var done engine.Purged
	err := workflow.ExecuteActivity(ctx, purgeName, ages).Get(ctx, &done)
	return done, err
}

// ScheduleRetention has Retention run every hour with these ages, which replace
// those it ran with before.
func (c *Client) ScheduleRetention(ctx context.Context, ages engine.RetentionAges) error {
	ctx = addressed(ctx, retentionID)
	action := &client.ScheduleWorkflowAction{ID: retentionID, Workflow: retentionName, Args: []any{ages}, TaskQueue: TaskQueue}
	_, err := c.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID:      retentionID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		Action:  action,
	})
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		err = c.temporal.ScheduleClient().GetHandle(ctx, retentionID).Update(ctx, client.ScheduleUpdateOptions{
			DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
				schedule := in.Description.Schedule
				schedule.Action = action
				return &client.ScheduleUpdate{Schedule: &schedule}, nil
			},
		})
	}
	if err != nil {
		return fmt.Errorf("schedule retention: %w", err)
	}
	return nil
}

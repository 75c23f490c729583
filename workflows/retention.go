package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Ages is how long ended things are kept. Requests zero keeps them for good.
type Ages struct {
	Tokens   time.Duration `json:"tokens"`
	Requests time.Duration `json:"requests"`
}

// Purged counts what a retention run deleted.
type Purged struct {
	Tokens   int `json:"tokens"`
	Requests int `json:"requests"`
	Sessions int `json:"sessions"`
}

// retentionID names the schedule and so keeps it to one per installation.
const retentionID = "countersign-retention"

// Retention deletes what has been kept long enough.
func Retention(ctx workflow.Context, ages Ages) (Purged, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 6 * time.Hour, HeartbeatTimeout: 5 * time.Minute,
	})
	var done Purged
	err := workflow.ExecuteActivity(ctx, purgeName, ages).Get(ctx, &done)
	return done, err
}

// ScheduleRetention sees to it that Retention runs every hour with these ages,
// whatever ages it ran with before.
func (c *Client) ScheduleRetention(ctx context.Context, ages Ages) error {
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

package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/countersign-dev/countersign/engine"
)

// memoInstallation is the member of the memo, on the schedule of [Reconcile], that
// names the installation to which a namespace belongs. It is not encrypted, so that
// every installation can read it.
const memoInstallation = "countersign_installation"

// Bind makes sure that a Temporal namespace is this installation's, and no other's, and
// that the installation's requests run in no other. The first call gives the two to
// each other, for a reason. Later, an error says that they do not belong together, or that the
// namespace was emptied. With accept, Bind takes a namespace that belongs to nobody in
// place of the one before: every request that has not ended gets a new workflow in it.
func (c *Client) Bind(ctx context.Context, namespace string, of engine.Installation, reason string, accept bool) error {
	described, err := c.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("read the Temporal namespace %q: %w", namespace, err)
	}
	before, err := of.Temporal(ctx)
	if err != nil {
		return fmt.Errorf("read which Temporal the requests run in: %w", err)
	}
	found := engine.TemporalNamespace{ID: described.NamespaceInfo.GetId(), Name: namespace}
	owner, err := c.owner(ctx)
	if err != nil {
		return err
	}
	same := before.ID == found.ID && owner != ""
	switch {
	case owner != "" && owner != of.ID():
		return errOwned(found, owner, of.ID())
	case before.ID != "" && !same && !accept:
		return errOtherTemporal(before, found)
	case same:
		if accept {
			c.log.Warn("--accept-temporal changes nothing: the requests run in this Temporal namespace already", "namespace", namespace)
		}
		return nil
	}
	if owner, err = c.claimNamespace(ctx, of.ID()); err == nil && owner != of.ID() {
		err = errOwned(found, owner, of.ID())
	}
	if err != nil {
		return err
	}
	if before.ID != "" {
		reason = "accepted in place of " + before.ID
	}
	return c.move(ctx, of, before, found, reason)
}

// move records the namespace, unless another start does so at the same time.
func (c *Client) move(ctx context.Context, of engine.Installation, before, found engine.TemporalNamespace, reason string) error {
	err := of.UseTemporal(ctx, before, found, reason)
	if !errors.Is(err, engine.CodeConflict) {
		return err
	}
	now, err := of.Temporal(ctx)
	if err == nil && now.ID != found.ID {
		err = errOtherTemporal(now, found)
	}
	return err
}

// RefuseOwned returns an error if a namespace belongs to another installation.
func (c *Client) RefuseOwned(ctx context.Context, namespace string, of engine.Installation) error {
	owner, err := c.owner(ctx)
	if err == nil && owner != "" && owner != of.ID() {
		err = errOwned(engine.TemporalNamespace{Name: namespace}, owner, of.ID())
	}
	return err
}

func errOwned(found engine.TemporalNamespace, owner, own string) error {
	return fmt.Errorf("the Temporal namespace %q belongs to the installation %s, and this database to %s: "+
		"give each installation a namespace of its own by temporal.namespace, or correct the database's settings", found.Name, owner, own)
}

func errOtherTemporal(before, found engine.TemporalNamespace) error {
	return fmt.Errorf("the requests of this database run in the Temporal namespace %q (%s), and the settings lead to %q (%s), which does not have them: "+
		"correct temporal.address, temporal.namespace or the data folder. If the Temporal of before is lost, or shall not be used any more, "+
		"stop all servers and start one once with --accept-temporal, which gives every request that has not ended a new workflow",
		before.Name, before.ID, found.Name, found.ID)
}

// owner returns the installation to which the namespace belongs, or "".
func (c *Client) owner(ctx context.Context) (string, error) {
	schedule, err := c.temporal.ScheduleClient().GetHandle(ctx, reconciliationID).Describe(ctx)
	if missing(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read to which installation the Temporal namespace belongs: %w", err)
	}
	owner := "unknown"
	if named := schedule.Memo.GetFields()[memoInstallation]; named != nil {
		err = converter.GetDefaultDataConverter().FromPayload(named, &owner)
	}
	return owner, err
}

// claimNamespace makes the schedule of [Reconcile], which says that the namespace
// belongs to an installation, and returns the installation whose schedule is there.
func (c *Client) claimNamespace(ctx context.Context, installation string) (owner string, err error) {
	_, err = c.temporal.ScheduleClient().Create(addressed(ctx, reconciliationID), client.ScheduleOptions{
		ID:      reconciliationID,
		Spec:    client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: time.Hour}}},
		Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		Action:  &client.ScheduleWorkflowAction{ID: reconciliationID, Workflow: reconcileWorkflowName, TaskQueue: TaskQueue},
		Memo:    map[string]any{memoInstallation: installation},
	})
	if err != nil && !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return "", fmt.Errorf("schedule reconciliation: %w", err)
	}
	return c.owner(ctx)
}

// scheduleCheck is how often KeepSchedules looks.
const scheduleCheck = 5 * time.Minute

// KeepSchedules makes the schedules again, until ctx ends, if Temporal was emptied while
// this process ran: reconciliation then gives every request that has not ended a new
// workflow. A server that starts is refused there all the same.
func (c *Client) KeepSchedules(ctx context.Context, of engine.Installation, ages engine.RetentionAges) {
	tick := time.NewTicker(scheduleCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := c.restoreSchedules(ctx, of, ages); err != nil && ctx.Err() == nil {
			c.log.Error("the schedules in Temporal could not be checked", "error", err)
		}
	}
}

func (c *Client) restoreSchedules(ctx context.Context, of engine.Installation, ages engine.RetentionAges) error {
	owner, err := c.owner(ctx)
	if err != nil || owner == of.ID() {
		return err
	}
	if owner == "" {
		c.log.Error("Temporal was emptied; requests that have not ended get new workflows. Stop all servers and start one once with --accept-temporal")
		owner, err = c.claimNamespace(ctx, of.ID())
	}
	if err == nil && owner != of.ID() {
		err = fmt.Errorf("the Temporal namespace belongs to the installation %s now, and this one is %s", owner, of.ID())
	}
	if err != nil {
		return err
	}
	if err := c.ScheduleRetention(ctx, ages); err != nil {
		return err
	}
	return c.Reconcile(ctx)
}

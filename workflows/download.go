package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/countersign-dev/countersign/engine"
)

// settledNote is the signal that a request's token ended.
type settledNote struct {
	Interrupted bool `json:"interrupted"`
}

// Download is the life of one request: the policy decides; a token that was
// issued is consumed, revoked or expires; the request ends as its token did.
// What a crash left undone is completed here.
func Download(ctx workflow.Context, order engine.Order) error {
	var decided engine.Request
	err := workflow.ExecuteLocalActivity(local(ctx), decideName, order).Get(ctx, &decided)
	if err != nil || decided.Status.Ended() {
		return err
	}
	return awaitEnd(ctx, decided)
}

// awaitEnd sleeps until the token is reported settled or its time is up, and
// asks again for as long as there is something to wait for.
func awaitEnd(ctx workflow.Context, r engine.Request) error {
	reports := workflow.GetSignalChannel(ctx, settledSignal)
	c := engine.Conclusion{ProjectID: r.ProjectID, RequestID: r.ID}
	wait := r.ExpiresAt.Sub(workflow.Now(ctx))
	for {
		var note settledNote
		if told, _ := reports.ReceiveWithTimeout(ctx, wait, &note); told {
			c.Told, c.Interrupted = true, note.Interrupted
		}
		err := workflow.ExecuteLocalActivity(local(ctx), concludeName, c).Get(ctx, &wait)
		if err != nil || wait <= 0 {
			return err
		}
		c.Waited = !workflow.Now(ctx).Before(r.ExpiresAt)
	}
}

// forever is longer than any outage. Left out, it would be the limit of one try,
// and a store that is down for so long would end requests.
const forever = 10 * 365 * 24 * time.Hour

// local are the options of every local activity: short tries, repeated until
// one succeeds. A decision that comes too late cancels by itself.
func local(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: forever,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second,
		},
	})
}

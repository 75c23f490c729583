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

// Download is the life of one request: the policy decides; where it asks for
// approval, people do, and the requester claims; a token that was issued is
// consumed, revoked or expires; the request ends as its token did. What a crash
// left undone is completed here.
func Download(ctx workflow.Context, order engine.WorkflowInput) error {
	d := &download{turn: workflow.NewMutex(ctx), telling: workflow.NewWaitGroup(ctx)}
	if err := d.listen(ctx); err != nil {
		return err
	}
	if err := d.decide(ctx, order); err != nil {
		return err
	}
	if d.request.Status == engine.StatusPendingApproval {
		workflow.Go(ctx, d.remind)
	}
	for !d.request.Status.Ended() {
		if err := d.await(ctx); err != nil {
			return err
		}
	}
	err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
	d.telling.Wait(ctx)
	return err
}

// download is what a workflow knows of its request. The store knows better: each
// step begins with what is there, so that one whose answer a crash swallowed
// counts. Steps take turns.
type download struct {
	request engine.Request
	decided bool
	wait    time.Duration // until something is due
	ended   engine.SettlementCheck
	claims  int
	told    bool
	turn    workflow.Mutex
	telling workflow.WaitGroup
}

func (d *download) decide(ctx workflow.Context, order engine.WorkflowInput) error {
	var first engine.Request
	if err := workflow.ExecuteLocalActivity(local(ctx), decideName, order).Get(ctx, &first); err != nil {
		return err
	}
	d.decided = true
	d.stands(ctx, engine.TransitionResult{Request: first})
	return nil
}

// stands takes over how the request stands now.
func (d *download) stands(ctx workflow.Context, now engine.TransitionResult) {
	if now.Request.ID != d.request.ID || now.Request.TokenDigest != d.request.TokenDigest {
		d.ended = engine.SettlementCheck{ProjectID: now.Request.ProjectID, RequestID: now.Request.ID}
	}
	d.request, d.wait = now.Request, now.Wait
	if due := now.Request.Deadline(); d.wait <= 0 && !due.IsZero() {
		d.wait = due.Sub(workflow.Now(ctx))
	}
	if now.Announce && !d.told {
		d.told = true
		d.announce(ctx)
	}
}

// await sleeps until something is due or the token is reported settled, and
// does what follows. A step of somebody's meanwhile only changes what is due.
func (d *download) await(ctx workflow.Context) error {
	reports := workflow.GetSignalChannel(ctx, settledSignal)
	version := d.request.Version
	woken, err := workflow.AwaitWithTimeout(ctx, d.wait, func() bool { return reports.Len() > 0 || d.request.Version != version })
	if err != nil || woken && reports.Len() == 0 {
		return err
	}
	if err := d.turn.Lock(ctx); err != nil {
		return err
	}
	defer d.turn.Unlock()
	var note settledNote
	for reports.ReceiveAsync(&note) {
		d.ended.Told, d.ended.Interrupted = true, note.Interrupted
	}
	err = d.step(ctx, concludeName, d.ended)
	d.ended.Waited = !workflow.Now(ctx).Before(d.request.ExpiresAt)
	return err
}

// step takes a step and stands as it leaves the request.
func (d *download) step(ctx workflow.Context, name string, in any) error {
	var now engine.TransitionResult
	err := workflow.ExecuteLocalActivity(local(ctx), name, in).Get(ctx, &now)
	if err == nil {
		d.stands(ctx, now)
	}
	return err
}

// forever is longer than any outage. Left out, it would be the limit of one try,
// and a store that is down for so long would end requests.
const forever = 10 * 365 * 24 * time.Hour

// local are the options of every local activity: short tries, repeated until
// one succeeds or a rule of the engine refuses. A decision that comes too late
// cancels by itself.
func local(ctx workflow.Context) workflow.Context {
	return workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout:    10 * time.Second,
		ScheduleToCloseTimeout: forever,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second,
		},
	})
}

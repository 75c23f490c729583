package workflows

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign/engine"
)

// activities do what workflow code must not do: read, decide and write. Each runs
// at least once and may run again.
type activities struct {
	transitions   *engine.Transitions
	retention     *engine.Retention
	notifications *engine.Notifications
	dispatch      engine.Dispatch
	reconcile     func(context.Context) (Reconciled, error)
	callers       *waitingCallers
	reports       *reporter
}

// registerActivities registers each under its name in histories.
func registerActivities(to interface {
	RegisterActivityWithOptions(a any, o activity.RegisterOptions)
}, a *activities) {
	for name, f := range map[string]any{
		evaluatePolicyName: a.evaluatePolicy, resumeName: a.resume, reconcileName: a.reconcile, voteName: a.vote, cancelName: a.cancel, claimName: a.claim, expireName: a.expire,
		recordSettlementName: a.recordSettlement, purgeName: a.purge, remindApproversName: a.remindApprovers,
		announceApprovalName: a.announceApproval, listDeliveriesName: a.listDeliveries, deliverName: a.deliver,
	} {
		to.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

// evaluatePolicy also answers a caller who waits in this process, before Temporal
// has stored that the activity completed: the decision is in the store, so nothing
// can contradict it any more.
func (a *activities) evaluatePolicy(ctx context.Context, in engine.WorkflowInput) (engine.TransitionResult, error) {
	r, err := a.transitions.EvaluatePolicy(ctx, in)
	if err != nil {
		return engine.TransitionResult{}, err
	}
	a.callers.answer(r)
	return engine.TransitionResult{Request: r}, a.notifications.ApprovalRequested(ctx, r, a.dispatch)
}

func (a *activities) vote(ctx context.Context, c engine.VoteCommand) (engine.TransitionResult, error) {
	r, err := a.transitions.Vote(ctx, c)
	return a.result(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) cancel(ctx context.Context, c engine.CancelCommand) (engine.TransitionResult, error) {
	r, err := a.transitions.Cancel(ctx, c)
	return a.result(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) claim(ctx context.Context, c engine.ClaimCommand) (engine.TransitionResult, error) {
	r, err := a.transitions.Claim(ctx, c)
	return a.result(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) expire(ctx context.Context, c engine.ExpireCommand) (engine.TransitionResult, error) {
	result, err := a.transitions.Expire(ctx, c)
	return a.result(ctx, result, err)
}

func (a *activities) recordSettlement(ctx context.Context, c engine.SettlementCheck) (engine.TransitionResult, error) {
	result, err := a.transitions.RecordSettlement(ctx, c)
	if err == nil && result.Request.Status.Ended() {
		a.reports.forget(c.RequestID)
	}
	return a.result(ctx, result, err)
}

// result adds whether people are to be notified.
func (a *activities) result(ctx context.Context, result engine.TransitionResult, err error) (engine.TransitionResult, error) {
	if err == nil {
		result.Announce, err = a.notifications.WantsApprovalSettled(ctx, result.Request)
	}
	return result, permanent(err)
}

// purge deletes what is older than the ages say, in small batches.
func (a *activities) purge(ctx context.Context, ages engine.RetentionAges) (engine.Purged, error) {
	var total engine.Purged
	for {
		batch, more, err := a.retention.PurgeBatch(ctx, ages)
		if err != nil {
			return total, err
		}
		if total = total.Plus(batch); !more {
			break
		}
		activity.RecordHeartbeat(ctx, total)
	}
	entries, err := a.retention.PurgeAudit(ctx, ages, heartbeats(ctx, total))
	total.Entries = entries
	return total, err
}

// heartbeats returns a function that may be called often, by several goroutines.
func heartbeats(ctx context.Context, total engine.Purged) func() {
	var mu sync.Mutex
	var last time.Time
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if now := engine.SystemClock(); now.Sub(last) > heartbeatEvery {
			activity.RecordHeartbeat(ctx, total)
			last = now
		}
	}
}

const heartbeatEvery = 10 * time.Second

// waitingCallers are the callers in this process who wait for the policy's
// decision on their request.
type waitingCallers struct {
	mu      sync.Mutex
	waiting map[string]chan engine.Request
}

// add registers a caller. The channel receives the decision if it is made in this
// process; remove ends the wait.
func (w *waitingCallers) add(requestID string) (decision <-chan engine.Request, remove func()) {
	c := make(chan engine.Request, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]chan engine.Request{}
	}
	w.waiting[requestID] = c
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.waiting[requestID] == c { // not another caller's
			delete(w.waiting, requestID)
		}
	}
}

// answer passes a decision to the caller who waits for it, once.
func (w *waitingCallers) answer(r engine.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.waiting[r.ID]; ok {
		c <- r // never blocks: the capacity is 1, and this is its only use
		delete(w.waiting, r.ID)
	}
}

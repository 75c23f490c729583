package workflows

import (
	"context"
	"sync"

	"go.temporal.io/sdk/activity"

	"github.com/countersign-dev/countersign/engine"
)

// activities do what workflows must not: read, decide and write. Each runs at
// least once and may run again.
type activities struct {
	downloads     *engine.Downloads
	notifications *engine.Notifications
	tell          engine.Dispatch
	waiting       *waiters
	reports       *reporter
}

// registerActivities gives each its name in histories.
func registerActivities(to interface {
	RegisterActivityWithOptions(a any, o activity.RegisterOptions)
}, a *activities) {
	for name, f := range map[string]any{
		decideName: a.decide, voteName: a.vote, cancelName: a.cancel, issueName: a.issue, concludeName: a.conclude, purgeName: a.purge,
		remindName: a.remind, announceName: a.announce, targetsName: a.targets, deliverName: a.deliver,
	} {
		to.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

// decide also answers a caller who waits in this process, before Temporal has
// noted the decision: the store has it, so nothing can contradict it any more.
func (a *activities) decide(ctx context.Context, order engine.WorkflowInput) (engine.Request, error) {
	r, err := a.downloads.Decide(ctx, order)
	if err != nil {
		return r, err
	}
	a.waiting.tell(r)
	return r, a.notifications.ApprovalRequested(ctx, r, a.tell)
}

func (a *activities) vote(ctx context.Context, b engine.VoteCommand) (engine.TransitionResult, error) {
	r, err := a.downloads.CastVote(ctx, b)
	return a.standing(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) cancel(ctx context.Context, w engine.CancelCommand) (engine.TransitionResult, error) {
	r, err := a.downloads.Withdraw(ctx, w)
	return a.standing(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) issue(ctx context.Context, c engine.ClaimCommand) (engine.TransitionResult, error) {
	r, err := a.downloads.Issue(ctx, c)
	return a.standing(ctx, engine.TransitionResult{Request: r}, err)
}

func (a *activities) conclude(ctx context.Context, c engine.SettlementCheck) (engine.TransitionResult, error) {
	now, err := a.downloads.Conclude(ctx, c)
	if err == nil && now.Request.Status.Ended() {
		a.reports.done(c.RequestID)
	}
	return a.standing(ctx, now, err)
}

// standing adds whether somebody is to hear of it.
func (a *activities) standing(ctx context.Context, now engine.TransitionResult, err error) (engine.TransitionResult, error) {
	if err == nil {
		now.Announce, err = a.notifications.WantsApprovalSettled(ctx, now.Request)
	}
	return now, refusal(err)
}

// purgeBatch bounds one write of the purge, so that it holds nobody up.
const purgeBatch = 200

// purge deletes what is older than the ages say, in small batches.
func (a *activities) purge(ctx context.Context, ages Ages) (Purged, error) {
	var done Purged
	now := a.downloads.Clock()
	for {
		tokens, err := a.downloads.Store.PurgeTokens(ctx, now.Add(-ages.Tokens), purgeBatch)
		if err != nil {
			return done, err
		}
		sessions, err := a.downloads.Store.PurgeSessions(ctx, now, purgeBatch)
		if err != nil {
			return done, err
		}
		requests := 0
		if ages.Requests > 0 {
			if requests, err = a.downloads.Store.PurgeRequests(ctx, now.Add(-ages.Requests), purgeBatch); err != nil {
				return done, err
			}
		}
		done.Tokens, done.Requests, done.Sessions = done.Tokens+tokens, done.Requests+requests, done.Sessions+sessions
		if max(tokens, requests, sessions) < purgeBatch {
			return done, nil
		}
		activity.RecordHeartbeat(ctx, done)
	}
}

// waiters are the callers in this process who wait for a decision.
type waiters struct {
	mu     sync.Mutex
	answer map[string]chan engine.Request
}

// expect registers a caller; the channel gets the decision if it is made here.
func (w *waiters) expect(requestID string) (<-chan engine.Request, func()) {
	answer := make(chan engine.Request, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answer == nil {
		w.answer = map[string]chan engine.Request{}
	}
	w.answer[requestID] = answer
	return answer, func() { w.forget(requestID, answer) }
}

// forget removes a caller, unless another has taken the place.
func (w *waiters) forget(requestID string, answer chan engine.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answer[requestID] == answer {
		delete(w.answer, requestID)
	}
}

func (w *waiters) tell(r engine.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if answer, ok := w.answer[r.ID]; ok {
		answer <- r // capacity 1, and the place is given up with it
		delete(w.answer, r.ID)
	}
}

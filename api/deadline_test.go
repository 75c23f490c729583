package api_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

type allFormats = engine.Formats // a name that is not one of its methods

// watchedFormats tells of every rendering.
type watchedFormats struct {
	allFormats
	render func(ctx context.Context)
}

func (w *watchedFormats) Render(ctx context.Context, job engine.RenderJob) ([]byte, error) {
	file, err := w.allFormats.Render(ctx, job)
	w.render(ctx)
	return file, err
}

// watchedPolicy tells of every decision.
type watchedPolicy struct {
	engine.Policy
	decide func(ctx context.Context)
}

func (w *watchedPolicy) Evaluate(ctx context.Context, in engine.PolicyInput) (engine.Verdict, error) {
	w.decide(ctx)
	return w.Policy.Evaluate(ctx, in)
}

// The time of a call limits the store, the renderers and the policy too, those of the
// end of a redemption and of refusals included.
func TestTheTimeOfACallReachesWhatItWaitsFor(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]bool{}
	limited := func(ctx context.Context, where string) {
		deadline, ok := ctx.Deadline()
		mu.Lock()
		defer mu.Unlock()
		if seen[where] = true; !ok || time.Until(deadline) > engine.AnswerWithin {
			t.Errorf("%s has no time limit, or a longer one than the call", where)
		}
	}
	f := newFixture(t, func(f *fixture, _ *api.Options) {
		f.downloads.Formats = &watchedFormats{renderers, func(ctx context.Context) { limited(ctx, "render") }}
		f.downloads.Policy = &watchedPolicy{rules, func(ctx context.Context) { limited(ctx, "policy") }}
		f.workflows.transitions.Policy = f.downloads.Policy
	})
	f.faults.seen = limited
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(410)
	f.faults.seen = nil
	for _, where := range []string{"APIKeyBySecret", "Certificate", "policy", "Token", "render", "Settle", "Append"} {
		if !seen[where] {
			t.Errorf("no call of %s was seen", where)
		}
	}
}

// A redemption whose time is over before its token is settled does not settle it: the
// token can be used again, and the audit log has the attempt.
func TestRedemptionOutOfTimeBeforeItsSettlement(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f.downloads.Formats = &watchedFormats{renderers, func(context.Context) { <-ctx.Done() }}
	_, err := f.downloads.Redeem(ctx, engine.RedeemRequest{Token: engine.Secret(m.Token)})
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, engine.CodeAuditUnavailable) {
		t.Fatalf("error %v", err)
	}
	if found := f.entries(f.project.ID, engine.ActionDownloadRefused); len(found) != 1 || found[0].Outcome != engine.AuditFailed {
		t.Errorf("entries %+v", found)
	}
	f.downloads.Formats = renderers
	f.do("", "GET", "/downloads/"+m.Token.Reveal(), "").is(200)
}

// A settlement that has begun ends, although the time of the call is over meanwhile:
// otherwise the token might be consumed without a file.
func TestSettlementEndsAfterTheTimeOfItsCall(t *testing.T) {
	f := newFixture(t)
	m := f.mint("operator", "shop", `{"format":"cert"}`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	f.faults.seen = func(_ context.Context, method string) {
		if method == "Settle" {
			<-ctx.Done()
		}
	}
	file, err := f.downloads.Redeem(ctx, engine.RedeemRequest{Token: engine.Secret(m.Token)})
	if err != nil || ctx.Err() == nil {
		t.Fatalf("%v; the call's time: %v", err, ctx.Err())
	}
	file.Sent(nil)
	f.reported()
}

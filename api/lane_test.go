package api_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
)

// gate is a policy that decides when it is opened, or when the caller's time is over.
type gate struct {
	engine.Policy
	open    chan struct{}
	entered chan struct{}
}

func (g *gate) Evaluate(ctx context.Context, in engine.PolicyInput) (engine.Verdict, error) {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return g.Policy.Evaluate(ctx, in)
	case <-ctx.Done():
		return engine.Verdict{}, ctx.Err()
	}
}

// Calls beyond what the server does at once wait for a while, in bounded number, and
// are then refused with a time to try again. Calls of other kinds go on.
func TestCallsBeyondCapacityAreRefused(t *testing.T) {
	g := &gate{Policy: rules, open: make(chan struct{}), entered: make(chan struct{}, 100)}
	f := newFixture(t, func(f *fixture, o *api.Options) {
		f.downloads.Policy, f.workflows.transitions.Policy = g, g
		o.Mints, o.Redemptions = 2, 1
	})
	body := `{"format":"cert"}`
	answers := make(chan answer, 20)
	call := func() { answers <- f.do("operator", "POST", "{c:shop}/downloads", body) }
	var running sync.WaitGroup
	for range 2 {
		running.Go(call)
		<-g.entered
	}
	for range 5 { // four wait until their time is over, and one is too many at once
		running.Go(call)
	}
	for range 5 {
		a := <-answers
		p := a.problem(503, engine.CodeUnavailable)
		if a.header.Get("Retry-After") == "" || !strings.Contains(p.Detail, "nothing was done") {
			t.Errorf("%v %+v", a.header, p)
		}
	}
	f.do("operator", "GET", "/me", "").is(200)
	f.do("", "GET", "//readyz/mint", "").is(200)
	f.do("", "GET", "/downloads/"+engine.NewToken().Reveal(), "").problem(404, engine.CodeTokenUnknown)
	if text := string(f.operators("//metrics").is(200).body); !strings.Contains(text, `countersign_calls_refused_total{kind="mint"} 5`) {
		t.Error("the refused calls are not counted")
	}
	close(g.open)
	running.Wait()
	for range 2 {
		(<-answers).is(201)
	}
	f.mint("operator", "shop", body)
}

package host

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// health is how a plugin is asked whether it still answers: every so often, unless
// it has answered renders since. It is ended only after it has missed two in a row,
// each within the longest that a render may take: one that renders a single file
// at a time, and one on a machine with too much to do, answer by then.
type health struct {
	every, within time.Duration
}

const (
	healthEvery  = 5 * time.Second
	healthWithin = 10 * time.Second // at least
	healthMisses = 2                // that cost the process
	unresponsive = "it did not answer two health checks in a row"
)

// complete sets defaults. deadline is that of a render.
func (h health) complete(deadline time.Duration) health {
	return health{cmp.Or(h.every, healthEvery), cmp.Or(h.within, max(healthWithin, deadline))}
}

// pulse is what the checks of one process have come to.
type pulse struct {
	answered int64 // renders, by the last check
	misses   int   // in a row
}

// check asks the process, unless it has answered since, and tells whether it is
// lost. It returns early when the process ends.
func (p *pulse) check(life context.Context, in *instance, within time.Duration) (lost bool) {
	answers := func() bool {
		before := p.answered
		p.answered = in.answered.Load()
		return p.answered != before
	}
	if answers() {
		p.misses = 0
		return false
	}
	ctx, cancel := context.WithTimeout(life, within)
	defer cancel()
	_, err := in.renderer.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(maxDescription))
	if err == nil || answers() || in.gone() || life.Err() != nil {
		p.misses = 0
		return false
	}
	p.misses++
	return p.misses >= healthMisses
}

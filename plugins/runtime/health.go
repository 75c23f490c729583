package runtime

import (
	"cmp"
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// Health is how often a process is checked, and how long its answer may take. The
// check is skipped if the process has answered a render since the last one.
type Health struct {
	Every, Timeout time.Duration
}

const (
	defaultHealthEvery = 5 * time.Second
	minHealthTimeout   = 10 * time.Second
	// maxMissedChecks in a row cost the process. One may be missed by a plugin that
	// renders a single file at a time, or on a machine that is overloaded.
	maxMissedChecks = 2
	unresponsive    = "it did not answer two health checks in a row"
)

// withDefaults fills in what is zero. The timeout is at least the deadline of a
// render, so that a long render alone does not look like a failure.
func (h Health) withDefaults(deadline time.Duration) Health {
	return Health{cmp.Or(h.Every, defaultHealthEvery), cmp.Or(h.Timeout, max(minHealthTimeout, deadline))}
}

// healthChecks keeps the results of the checks of one process.
type healthChecks struct {
	answered int64 // renders, by the last check
	missed   int   // in a row
}

// failed checks the process and reports whether it has missed too many checks. It
// returns early when the process ends.
func (c *healthChecks) failed(life context.Context, in *instance, timeout time.Duration) bool {
	hasAnswered := func() bool {
		before := c.answered
		c.answered = in.answered.Load()
		return c.answered != before
	}
	if hasAnswered() {
		c.missed = 0
		return false
	}
	ctx, cancel := context.WithTimeout(life, timeout)
	defer cancel()
	_, err := in.renderer.Describe(ctx, &pluginv1.DescribeRequest{}, grpc.MaxCallRecvMsgSize(maxDescription))
	if err == nil || hasAnswered() || in.ended() || life.Err() != nil {
		c.missed = 0
		return false
	}
	c.missed++
	return c.missed >= maxMissedChecks
}

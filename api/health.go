package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// probes are the routes that machines ask every few seconds.
var probes = []string{"/healthz", "/readyz", "/readyz/redeem", "/readyz/mint"}

// The parts of readiness, which are the last part of a probe's path.
const (
	toServe  = "/readyz"        // everything
	toRedeem = "/readyz/redeem" // tokens: their workflows may learn of it later
	toMint   = "/readyz/mint"   // what a workflow decides: mints, claims, votes and cancellations
)

// checkTimeout is how long a check may take before it counts as no answer.
const checkTimeout = 3 * time.Second

type healthOutput struct{ Body wire.Health }

func (s *Server) healthEndpoints() {
	register(s, endpoint{
		id: "health", load: unlimited, method: http.MethodGet, path: "/healthz", access: public, tag: "Health",
		summary: "Check that the process is running",
	}, s.health)
	register(s, endpoint{
		id: "readiness", load: unlimited, method: http.MethodGet, path: "/readyz", access: public, tag: "Health",
		summary:     "Check whether requests can be served",
		description: "503 unavailable if not. Which check failed, and the state of plugins and policy rules, is shown to operators on the listener listen_admin.",
	}, s.ready(toServe))
	register(s, endpoint{
		id: "readiness-to-redeem", load: unlimited, method: http.MethodGet, path: toRedeem, access: public, tag: "Health",
		summary:     "Check whether tokens can be redeemed",
		description: "503 unavailable if not. Redemption does without Temporal, so this may be 200 while /readyz is 503.",
	}, s.ready(toRedeem))
	register(s, endpoint{
		id: "readiness-to-mint", load: unlimited, method: http.MethodGet, path: toMint, access: public, tag: "Health",
		summary:     "Check whether tokens can be minted and claimed, and approvals decided",
		description: "503 unavailable if not.",
	}, s.ready(toMint))
}

func (s *Server) health(context.Context, *call, *struct{}) (*healthOutput, error) {
	return &healthOutput{wire.Health{Status: "ok"}}, nil
}

func (s *Server) ready(part string) func(context.Context, *call, *struct{}) (*healthOutput, error) {
	return func(ctx context.Context, k *call, _ *struct{}) (*healthOutput, error) {
		for _, check := range s.runChecks(ctx, k.id, part) {
			if !check.OK {
				return nil, engine.Errorf(engine.CodeUnavailable, "the server is not ready; its operators find the reason at the address listen_admin")
			}
		}
		return &healthOutput{wire.Health{Status: "ready"}}, nil
	}
}

// readiness says for operators whether requests can be served, and if not, why.
func (s *Server) readiness(ctx context.Context, part string) (*wire.Readiness, error) {
	checks := s.runChecks(ctx, "", part)
	var unanswered []string
	for _, check := range checks {
		if !check.OK {
			unanswered = append(unanswered, check.Name)
		}
	}
	plugins := []wire.Plugin{}
	for _, plugin := range s.admin.Plugins.Plugins() {
		plugins = append(plugins, toPlugin(plugin))
	}
	status := s.options.PolicyStatus()
	policy := wire.PolicyStatus{Revision: status.Revision, LoadedAt: wire.Instant(status.LoadedAt), Problem: status.Problem}
	nodes := []wire.Node{}
	for _, n := range s.options.OtherNodes() {
		nodes = append(nodes, wire.Node{ID: n.ID, Host: n.Host, SeenAt: n.SeenAt, Differs: append([]string{}, n.Differs...)})
	}
	var secure *wire.TLSStatus
	if s.options.TLSStatus != nil {
		status := s.options.TLSStatus()
		secure = &status
	}
	if len(unanswered) > 0 {
		return nil, engine.Errorf(engine.CodeUnavailable, "not ready: %s", strings.Join(unanswered, ", ")).
			With("checks", checks).With("plugins", plugins).With("policy", policy).With("nodes", nodes).With("tls", secure)
	}
	return &wire.Readiness{Status: "ready", Checks: checks, Plugins: plugins, Policy: policy, Nodes: nodes, TLS: secure}, nil
}

// runChecks runs all checks of a part at once. A server that drains asks nobody.
func (s *Server) runChecks(ctx context.Context, requestID, part string) []wire.Check {
	if s.draining.Load() {
		return []wire.Check{{Name: "drain"}}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	needed := slices.DeleteFunc(slices.Clone(s.options.Ready), func(check Check) bool { return part == toRedeem && check.NotToRedeem })
	checks := make([]wire.Check, len(needed))
	var all sync.WaitGroup
	for i, check := range needed {
		all.Go(func() {
			err := runCheck(ctx, check)
			checks[i] = wire.Check{Name: check.Name, OK: err == nil}
			if err != nil {
				s.log.WarnContext(ctx, "a readiness check failed", "request_id", requestID, "check", check.Name, "error", err)
			}
		})
	}
	all.Wait()
	return checks
}

// runCheck returns when the check has answered or ctx has ended, even if the check
// ignores ctx.
func runCheck(ctx context.Context, check Check) error {
	answer := make(chan error, 1)
	go func() { answer <- check.Ask(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

package api

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// probes are the routes that machines ask every few seconds.
var probes = []string{"/healthz", "/readyz"}

// checkTimeout is how long a check may take before it counts as no answer.
const checkTimeout = 3 * time.Second

type healthOutput struct{ Body wire.Health }

func (s *Server) healthEndpoints() {
	register(s, endpoint{
		id: "health", method: http.MethodGet, path: "/healthz", access: public, tag: "Health",
		summary: "Check that the process is running",
	}, s.health)
	register(s, endpoint{
		id: "readiness", method: http.MethodGet, path: "/readyz", access: public, tag: "Health",
		summary:     "Check whether requests can be served",
		description: "503 unavailable if not. Which check failed, and the state of plugins and policy rules, is shown to operators on the listener listen_admin.",
	}, s.ready)
}

func (s *Server) health(context.Context, *call, *struct{}) (*healthOutput, error) {
	return &healthOutput{wire.Health{Status: "ok"}}, nil
}

func (s *Server) ready(ctx context.Context, k *call, _ *struct{}) (*healthOutput, error) {
	for _, check := range s.runChecks(ctx, k.id) {
		if !check.OK {
			return nil, engine.Errorf(engine.CodeUnavailable, "the server is not ready; its operators find the reason at the address listen_admin")
		}
	}
	return &healthOutput{wire.Health{Status: "ready"}}, nil
}

// readiness says for operators whether requests can be served, and if not, why.
func (s *Server) readiness(ctx context.Context) (*wire.Readiness, error) {
	checks := s.runChecks(ctx, "")
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
	if len(unanswered) > 0 {
		return nil, engine.Errorf(engine.CodeUnavailable, "not ready: %s", strings.Join(unanswered, ", ")).
			With("checks", checks).With("plugins", plugins).With("policy", policy).With("nodes", nodes)
	}
	return &wire.Readiness{Status: "ready", Checks: checks, Plugins: plugins, Policy: policy, Nodes: nodes}, nil
}

// runChecks runs all checks at once.
func (s *Server) runChecks(ctx context.Context, requestID string) []wire.Check {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	checks := make([]wire.Check, len(s.options.Ready))
	var all sync.WaitGroup
	for i, check := range s.options.Ready {
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

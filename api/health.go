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
var probes = []string{"/healthz", "/readyz", "/metrics"}

// checkTimeout is how long a check may take before it counts as no answer.
const checkTimeout = 3 * time.Second

type healthOutput struct{ Body wire.Health }

type readinessOutput struct{ Body wire.Readiness }

func (s *Server) healthEndpoints() {
	register(s, endpoint{
		id: "health", method: http.MethodGet, path: "/healthz", access: public, tag: "Health",
		summary: "Check that the process is running",
	}, s.health)
	register(s, endpoint{
		id: "readiness", method: http.MethodGet, path: "/readyz", access: public, tag: "Health",
		summary: "Check whether requests can be served",
		description: "503 unavailable names in its detail what does not answer. Its member checks lists all checks, its member plugins the renderers " +
			"and its member policy the active rules.",
	}, s.readiness)
}

func (s *Server) health(context.Context, *call, *struct{}) (*healthOutput, error) {
	return &healthOutput{wire.Health{Status: "ok"}}, nil
}

func (s *Server) readiness(ctx context.Context, k *call, _ *struct{}) (*readinessOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	checks := make([]wire.Check, len(s.options.Ready))
	var all sync.WaitGroup
	for i, check := range s.options.Ready {
		all.Go(func() {
			err := runCheck(ctx, check)
			checks[i] = wire.Check{Name: check.Name, OK: err == nil}
			if err != nil {
				s.log.WarnContext(ctx, "a readiness check failed", "request_id", k.id, "check", check.Name, "error", err)
			}
		})
	}
	all.Wait()
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
	if len(unanswered) > 0 {
		return nil, engine.Errorf(engine.CodeUnavailable, "no answer from: %s", strings.Join(unanswered, ", ")).
			With("checks", checks).With("plugins", plugins).With("policy", policy)
	}
	return &readinessOutput{wire.Readiness{Status: "ready", Checks: checks, Plugins: plugins, Policy: policy}}, nil
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

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

// askWithin is how long a check may take before it counts as no answer.
const askWithin = 3 * time.Second

type healthOutput struct{ Body wire.Health }

type readinessOutput struct{ Body wire.Readiness }

func (s *Server) healthEndpoints() {
	register(s, endpoint{
		id: "health", method: http.MethodGet, path: "/healthz", tag: "Health", summary: "Tell that the process lives",
		access: access{public: true},
	}, func(context.Context, *call, *struct{}) (*healthOutput, error) {
		return &healthOutput{wire.Health{Status: "ok"}}, nil
	})
	register(s, endpoint{
		id: "readiness", method: http.MethodGet, path: "/readyz", tag: "Health", summary: "Tell whether requests can be served",
		description: "503 unavailable names in its detail what does not answer; its member checks lists all, its member plugins the renderers, its member policy the rules in force.",
		access:      access{public: true},
	}, s.readiness)
}

func (s *Server) readiness(ctx context.Context, k *call, _ *struct{}) (*readinessOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	checks := make([]wire.Check, len(s.options.Ready))
	var all sync.WaitGroup
	for i, check := range s.options.Ready {
		all.Go(func() {
			err := ask(ctx, check)
			checks[i] = wire.Check{Name: check.Name, OK: err == nil}
			if err != nil {
				s.log.WarnContext(ctx, "a readiness check failed", "request_id", k.id, "check", check.Name, "error", err)
			}
		})
	}
	all.Wait()
	var silent []string
	for _, check := range checks {
		if !check.OK {
			silent = append(silent, check.Name)
		}
	}
	plugins := []wire.Plugin{}
	for _, plugin := range s.options.Plugins.Plugins() {
		plugins = append(plugins, toPlugin(plugin))
	}
	policy := s.policyStatus()
	if len(silent) > 0 {
		return nil, engine.Errorf(engine.CodeUnavailable, "no answer from: %s", strings.Join(silent, ", ")).
			With("checks", checks).With("plugins", plugins).With("policy", policy)
	}
	return &readinessOutput{wire.Readiness{Status: "ready", Checks: checks, Plugins: plugins, Policy: policy}}, nil
}

func (s *Server) policyStatus() wire.PolicyStatus {
	if s.options.PolicyStatus == nil {
		return wire.PolicyStatus{Revision: s.downloads.Policy.Revision()}
	}
	p := s.options.PolicyStatus()
	return wire.PolicyStatus{Revision: p.Revision, LoadedAt: &p.LoadedAt, Problem: p.Problem}
}

// ask returns when the check has answered or ctx has ended, even if the check
// does not heed ctx.
func ask(ctx context.Context, check Check) error {
	answer := make(chan error, 1)
	go func() { answer <- check.Ask(ctx) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

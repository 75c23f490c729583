// Package policies decides downloads by rules written in Rego, which Open Policy
// Agent evaluates in this process.
//
// Start with countersign.rego, which holds the built-in rules; its tests are in
// countersign_test.rego. README.md says how a team adds rules of its own. [Open]
// loads both, and the [Evaluator] is the [engine.Policy] port.
//
// The package promises that nothing is allowed in doubt: a rule that fails, is
// undefined, takes too long or has a result in another form denies. Rules see
// only their input. The builtins that reach the network, the clock, the
// environment or random numbers are removed.
package policies

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// Options configure an Evaluator. Their zero value loads the built-in rules alone.
type Options struct {
	Dir     string                // a team's own rules; none by default
	Log     *slog.Logger          // slog.Default() by default
	Clock   engine.Clock          // engine.SystemClock by default
	Metrics prometheus.Registerer // counts reloads; none by default
	poll    time.Duration         // how often Dir is read; 2 s by default
}

// Evaluator decides by the active rules. It is safe for concurrent use.
type Evaluator struct {
	current atomic.Pointer[state]
	limits  limits
	log     *slog.Logger
	stop    func() // stops watching the directory
}

var _ engine.Policy = (*Evaluator)(nil)

// state is the active rules, and the problem that keeps newer ones from loading.
type state struct {
	*ruleset
	loadedAt time.Time
	problem  string
}

// New loads the built-in rules alone.
func New(ctx context.Context) (*Evaluator, error) { return Open(ctx, Options{}) }

// Open loads the rules and, until Close, every newer valid revision of the
// directory. A directory that is invalid now is an error.
func Open(ctx context.Context, o Options) (*Evaluator, error) { return open(ctx, o, production) }

func open(ctx context.Context, o Options, l limits) (*Evaluator, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = engine.SystemClock
	}
	if o.poll <= 0 {
		o.poll = 2 * time.Second
	}
	e := &Evaluator{limits: l, log: o.Log, stop: func() {}}
	if o.Dir != "" {
		if err := e.watch(ctx, o); err != nil {
			return nil, err
		}
		return e, nil
	}
	rules, report := check(ctx, l, nil)
	if err := report.Err(); err != nil {
		return nil, err
	}
	e.current.Store(&state{ruleset: rules, loadedAt: o.Clock()})
	return e, nil
}

// Close stops watching the directory. The active rules stay usable.
func (e *Evaluator) Close() { e.stop() }

// Revision implements engine.Policy.
func (e *Evaluator) Revision() string { return e.current.Load().revision }

// Status is the active revision, and the problem that keeps a newer one from loading.
func (e *Evaluator) Status() engine.PolicyStatus {
	s := e.current.Load()
	return engine.PolicyStatus{Revision: s.revision, LoadedAt: s.loadedAt, Problem: s.problem}
}

// Evaluate implements engine.Policy. It returns an error only if ctx ended first;
// rules that fail deny. It lists the results of all rules for engine.PolicyEvaluate
// only, to explain the decision.
func (e *Evaluator) Evaluate(ctx context.Context, in engine.PolicyInput) (engine.Verdict, error) {
	rules := e.current.Load().ruleset
	input, err := toValue(in)
	var verdict engine.Verdict
	if err == nil {
		verdict, err = rules.decide(ctx, e.limits.evaluation, input)
	}
	if ctx.Err() != nil {
		return denied(rules.revision), fmt.Errorf("evaluate policy: %w", ctx.Err())
	}
	if err != nil {
		e.log.ErrorContext(ctx, "the policy rules failed, so the download is denied; correct the rules", "revision", rules.revision, "error", err)
		return denied(rules.revision), nil
	}
	verdict.Revision = rules.revision
	if in.Action == engine.PolicyEvaluate {
		if verdict.Rules, err = rules.explain(ctx, e.limits.evaluation, input); err != nil {
			e.log.ErrorContext(ctx, "the results of the policy rules cannot be listed; correct the rules", "revision", rules.revision, "error", err)
		}
	}
	return verdict, nil
}

func denied(revision string) engine.Verdict {
	return engine.Verdict{
		Outcome:     engine.OutcomeDeny,
		Code:        engine.CodePolicyDenied,
		Explanation: []string{"The policy rules failed, so the download is denied. The server's log has the cause."},
		Remedies:    []string{},
		Revision:    revision,
	}
}

// Package policies decides downloads by rules written in Rego, evaluated in
// process by Open Policy Agent.
//
// Start with countersign.rego, which holds the built-in rules and says how to
// add one; countersign_test.rego holds their tests. [Open] prepares them, with a
// platform team's own from a directory, and the [Evaluator] answers
// [engine.Policy] from what it prepared.
//
// # A team's own rules
//
// The files *.rego directly in the directory are rules, *_test.rego among them
// their tests. A file of package countersign may add to the sets deny and
// approval and define names of its own, so it can only make a decision stricter;
// whatever else would reach the built-in rules is refused. A file of any other
// package is free, for tables and functions that rules share:
//
//	package countersign
//
//	deny contains {
//		"why": "Wildcard keys stay where they are.",
//		"remedies": ["Ask for a certificate of one host."],
//	} if {
//		input.format.contains_key
//		some name in input.certificate.sans
//		startswith(name, "*.")
//	}
//
// A test takes an input from data.samples (samples.json) and asks for the
// decision:
//
//	package wildcards_test
//
//	import data.countersign
//
//	test_wildcard_keys_stay if {
//		d := countersign.decision with input as data.samples.approver_mints_wildcard_key
//		d.outcome == "deny"
//	}
//
// input.schema.json describes the input; a rule that names another member does
// not compile. `countersign policy test` tells what a server would.
//
// The directory is looked at every two seconds, and a change tried once two looks
// in a row saw it. A revision that does not compile, fails a test, or fails on a
// sample is not put in force: the last good one decides, and the log, /readyz
// and /metrics say so. So it is with a directory that is gone or holds no rules
// any more: to do without them is a matter of configuration and a restart. At
// the start there is no last good one, and a bad directory is an error.
//
// The package promises that nothing doubtful is let through: a rule that fails,
// is undefined, takes too long or answers in another shape denies. The rules see
// their input alone; the builtins that reach the network, the clock, the
// environment or chance do not exist for them.
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

// Options is what an Evaluator is made from. Its zero value is the built-in
// rules alone.
type Options struct {
	Dir     string                // a team's own rules
	Log     *slog.Logger          // the default logger without it
	Clock   engine.Clock          // the system's without it
	Metrics prometheus.Registerer // where reloads are counted
	Poll    time.Duration         // how often Dir is looked at, 2 s without it
}

// Evaluator answers by the rules in force. It is safe for concurrent use.
type Evaluator struct {
	current atomic.Pointer[state]
	limits  limits
	log     *slog.Logger
	stop    func() // ends the watch of the directory
}

var _ engine.Policy = (*Evaluator)(nil)

// state is the rules in force, and why newer ones are not.
type state struct {
	*ruleset
	loadedAt time.Time
	problem  string
}

// New prepares the built-in rules alone.
func New(ctx context.Context) (*Evaluator, error) { return Open(ctx, Options{}) }

// Open prepares the rules and, until Close, keeps them at the newest good
// revision of the directory. A directory that cannot be put in force is an error.
func Open(ctx context.Context, o Options) (*Evaluator, error) { return open(ctx, o, production) }

func open(ctx context.Context, o Options, l limits) (*Evaluator, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = engine.SystemClock
	}
	if o.Poll <= 0 {
		o.Poll = 2 * time.Second
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

// Close ends the watch of the directory. The rules in force go on answering.
func (e *Evaluator) Close() { e.stop() }

// Revision implements engine.Policy.
func (e *Evaluator) Revision() string { return e.current.Load().revision }

// Status tells which rules are in force, and why newer ones are not.
func (e *Evaluator) Status() engine.PolicyStatus {
	s := e.current.Load()
	return engine.PolicyStatus{Revision: s.revision, LoadedAt: s.loadedAt, Problem: s.problem}
}

// Evaluate implements engine.Policy. It returns an error only when ctx ended
// first, which decides nothing; rules that fail are a denial. What each rule
// said is listed for engine.PolicyEvaluate alone, and decides nothing.
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
		e.log.ErrorContext(ctx, "policy rules failed, which denies", "revision", rules.revision, "error", err)
		return denied(rules.revision), nil
	}
	verdict.Revision = rules.revision
	if in.Action == engine.PolicyEvaluate {
		if verdict.Rules, err = rules.explain(ctx, e.limits.evaluation, input); err != nil {
			e.log.ErrorContext(ctx, "what the policy rules said could not be listed", "revision", rules.revision, "error", err)
		}
	}
	return verdict, nil
}

func denied(revision string) engine.Verdict {
	return engine.Verdict{
		Outcome:     engine.OutcomeDeny,
		Code:        engine.CodePolicyDenied,
		Explanation: []string{"The policy rules failed, which denies; the server's log has the cause."},
		Remedies:    []string{},
		Revision:    revision,
	}
}

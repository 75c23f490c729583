// Package policies decides downloads by rules written in Rego, evaluated in
// process by Open Policy Agent.
//
// Start with countersign.rego, which holds the rules and says how to add one;
// countersign_test.rego holds their tests. [Evaluator] prepares the rules once
// and answers [engine.Policy] from them.
//
// The package promises that nothing doubtful is let through: a rule that fails,
// is undefined, takes too long or answers in another shape denies. The rules see
// their input alone; the builtins that reach the network, the clock, the
// environment or chance do not exist for them.
package policies

import (
	"context"
	"crypto/sha256"
	_ "embed" // the rules
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/countersign-dev/countersign/engine"
)

//go:embed countersign.rego
var builtinRules string

// evaluationLimit ends the evaluation of rules that do not end by themselves.
// The built-in ones take a tenth of a millisecond.
const evaluationLimit = time.Second

// Evaluator answers by the rules in force. It is safe for concurrent use.
type Evaluator struct {
	current atomic.Pointer[ruleset]
	limit   time.Duration
}

var _ engine.Policy = (*Evaluator)(nil)

// ruleset is one revision of the rules, ready to be asked.
type ruleset struct {
	query    rego.PreparedEvalQuery
	revision string
}

// New prepares the built-in rules.
func New(ctx context.Context) (*Evaluator, error) {
	return newEvaluator(ctx, map[string]string{"countersign.rego": builtinRules}, evaluationLimit)
}

func newEvaluator(ctx context.Context, files map[string]string, limit time.Duration) (*Evaluator, error) {
	rules, err := prepare(ctx, files)
	if err != nil {
		return nil, err
	}
	e := &Evaluator{limit: limit}
	e.current.Store(rules)
	return e, nil
}

// prepare compiles rule files, given by name, without leave to reach outside.
func prepare(ctx context.Context, files map[string]string) (*ruleset, error) {
	options := []func(*rego.Rego){
		rego.Query("data.countersign.decision"),
		rego.Capabilities(capabilities()),
		rego.StrictBuiltinErrors(true),
		rego.Strict(true),
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		options = append(options, rego.Module(name, files[name]))
	}
	query, err := rego.New(options...).PrepareForEval(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare policy rules: %w", err)
	}
	return &ruleset{query: query, revision: revisionOf(files)}, nil
}

// revisionOf names rule files by their names and contents: the first 16 hex
// digits of a SHA-256. Lengths keep one file's end apart from the next's start.
func revisionOf(files map[string]string) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(sum, "%d %s\n%d %s\n", len(name), name, len(files[name]), files[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// Revision implements engine.Policy.
func (e *Evaluator) Revision() string { return e.current.Load().revision }

// Evaluate implements engine.Policy. It returns an error only when ctx ended
// first, which decides nothing; rules that fail are a denial.
func (e *Evaluator) Evaluate(ctx context.Context, in engine.PolicyInput) (engine.Verdict, error) {
	rules := e.current.Load()
	verdict, err := rules.evaluate(ctx, e.limit, in)
	if ctx.Err() != nil {
		return denied(rules.revision), fmt.Errorf("evaluate policy: %w", ctx.Err())
	}
	if err != nil {
		slog.ErrorContext(ctx, "policy rules failed, which denies", "revision", rules.revision, "error", err)
		return denied(rules.revision), nil
	}
	verdict.Revision = rules.revision
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

func (r *ruleset) evaluate(ctx context.Context, limit time.Duration, in engine.PolicyInput) (engine.Verdict, error) {
	input, err := toValue(in)
	if err != nil {
		return engine.Verdict{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results, err := r.query.Eval(ctx, rego.EvalParsedInput(input))
	if err != nil {
		return engine.Verdict{}, fmt.Errorf("evaluate policy rules: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return engine.Verdict{}, errors.New("evaluate policy rules: decision is undefined")
	}
	return fold(results[0].Expressions[0].Value)
}

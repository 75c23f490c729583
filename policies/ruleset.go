package policies

import (
	"context"
	"crypto/sha256"
	_ "embed" // the rules
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/countersign-dev/countersign/engine"
)

//go:embed countersign.rego
var builtinText string

// builtinName contains a slash, so it cannot be the name of a team's file.
const builtinName = "built-in/countersign.rego"

// ruleset is one revision of the rules, prepared for evaluation.
type ruleset struct {
	decision rego.PreparedEvalQuery
	results  rego.PreparedEvalQuery
	revision string
}

// compiler allows no builtin that reaches outside, and knows the input's members.
func compiler() *ast.Compiler {
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, inputSchema())
	return ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).WithSchemas(schemas)
}

// prepare makes a ruleset of compiled rules.
func prepare(ctx context.Context, compiled *ast.Compiler, revision string) (*ruleset, error) {
	r := &ruleset{revision: revision}
	for query, into := range map[string]*rego.PreparedEvalQuery{
		"data.countersign.decision": &r.decision,
		"data.countersign.rules":    &r.results,
	} {
		var err error
		if *into, err = rego.New(rego.Query(query), rego.Compiler(compiled), rego.StrictBuiltinErrors(true)).PrepareForEval(ctx); err != nil {
			return nil, fmt.Errorf("prepare policy rules: %w", err)
		}
	}
	return r, nil
}

// hashFiles returns the first 16 hexadecimal digits of a SHA-256 over the files'
// names and contents. The lengths separate one file from the next.
func hashFiles(files map[string]string) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(sum, "%d %s\n%d %s\n", len(name), name, len(files[name]), files[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// decide evaluates the decision.
func (r *ruleset) decide(ctx context.Context, limit time.Duration, input ast.Value) (engine.Verdict, error) {
	decision, err := eval(ctx, limit, r.decision, input)
	if err != nil {
		return engine.Verdict{}, err
	}
	return parseVerdict(decision)
}

// explain evaluates the result of each rule.
func (r *ruleset) explain(ctx context.Context, limit time.Duration, input ast.Value) ([]engine.RuleResult, error) {
	results, err := eval(ctx, limit, r.results, input)
	if err != nil {
		return nil, err
	}
	return parseRuleResults(results)
}

// eval evaluates a query, for at most limit.
func eval(ctx context.Context, limit time.Duration, query rego.PreparedEvalQuery, input ast.Value) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results, err := query.Eval(ctx, rego.EvalParsedInput(input))
	if topdown.IsCancel(err) {
		return nil, fmt.Errorf("evaluate policy rules: they did not end within %s: %w", limit, err)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluate policy rules: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, errors.New("evaluate policy rules: the result is undefined")
	}
	return results[0].Expressions[0].Value, nil
}

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

// builtinName cannot be the name of a team's file, which has no slash.
const builtinName = "built-in/countersign.rego"

// ruleset is one revision of the rules, ready to be asked.
type ruleset struct {
	decision rego.PreparedEvalQuery
	said     rego.PreparedEvalQuery
	revision string
}

// compiler has no leave to reach outside, and knows the members of the input.
func compiler() *ast.Compiler {
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, inputSchema())
	return ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).WithSchemas(schemas)
}

// prepare makes compiled rules ready to be asked.
func prepare(ctx context.Context, compiled *ast.Compiler, revision string) (*ruleset, error) {
	r := &ruleset{revision: revision}
	for query, into := range map[string]*rego.PreparedEvalQuery{
		"data.countersign.decision": &r.decision,
		"data.countersign.rules":    &r.said,
	} {
		var err error
		if *into, err = rego.New(rego.Query(query), rego.Compiler(compiled), rego.StrictBuiltinErrors(true)).PrepareForEval(ctx); err != nil {
			return nil, fmt.Errorf("prepare policy rules: %w", err)
		}
	}
	return r, nil
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

// decide asks for the decision.
func (r *ruleset) decide(ctx context.Context, limit time.Duration, input ast.Value) (engine.Verdict, error) {
	decision, err := ask(ctx, limit, r.decision, input)
	if err != nil {
		return engine.Verdict{}, err
	}
	return fold(decision)
}

// explain asks what each rule said.
func (r *ruleset) explain(ctx context.Context, limit time.Duration, input ast.Value) ([]engine.RuleResult, error) {
	said, err := ask(ctx, limit, r.said, input)
	if err != nil {
		return nil, err
	}
	return foldSaid(said)
}

// ask ends rules that do not end by themselves.
func ask(ctx context.Context, limit time.Duration, query rego.PreparedEvalQuery, input ast.Value) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	results, err := query.Eval(ctx, rego.EvalParsedInput(input))
	if topdown.IsCancel(err) {
		return nil, fmt.Errorf("evaluate policy rules: no end within %s: %w", limit, err)
	}
	if err != nil {
		return nil, fmt.Errorf("evaluate policy rules: %w", err)
	}
	if len(results) != 1 || len(results[0].Expressions) != 1 {
		return nil, errors.New("evaluate policy rules: the answer is undefined")
	}
	return results[0].Expressions[0].Value, nil
}

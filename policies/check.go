package policies

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// limits bound the time that rules may take.
type limits struct {
	evaluation time.Duration // of one decision; the built-in rules take a tenth of a millisecond
	test       time.Duration // of one Rego test
	revision   time.Duration // of all checks before a revision is loaded
}

var production = limits{evaluation: time.Second, test: 5 * time.Second, revision: 30 * time.Second}

// Check checks a directory as a server does before it loads it. An error means that
// the directory could not be read; problems of the rules are in the report.
func Check(ctx context.Context, dir string) (Report, error) {
	files, err := readDirectory(dir)
	if err != nil {
		return Report{}, err
	}
	_, report, _ := checkWithin(ctx, production, files)
	return report, nil
}

// checkWithin runs check in a goroutine of its own, because compiling ignores a
// deadline and a panic must not end the server. The channel is closed when the
// goroutine has ended.
func checkWithin(ctx context.Context, l limits, files map[string]string) (*ruleset, Report, <-chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, l.revision)
	defer cancel()
	var rules *ruleset
	report := newReport(files)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				report.Problems = append(report.Problems, Problem{Text: fmt.Sprintf("the rules made the compiler panic: %v", p)})
			}
		}()
		rules, report = check(ctx, l, files)
	}()
	select {
	case <-ended:
		return rules, report, ended
	case <-ctx.Done():
		late := newReport(files)
		late.Problems = []Problem{{Text: fmt.Sprintf("the rules were not compiled and tested within %s; make them simpler", l.revision)}}
		return nil, late, ended
	}
}

// revision covers the built-in rules and all files of a team, tests included.
func revision(files map[string]string) string {
	all := map[string]string{builtinName: builtinText}
	maps.Copy(all, files)
	return hashFiles(all)
}

// check compiles a team's files with the built-in rules, runs their tests and
// decides the samples. It returns rules only with a report without problems.
func check(ctx context.Context, l limits, files map[string]string) (*ruleset, Report) {
	report := newReport(files)
	modules, tests := parse(files, &report)
	if len(report.Problems) > 0 {
		return nil, report
	}
	compiled := compiler()
	if compiled.Compile(modules); compiled.Failed() {
		report.add(compiled.Errors)
		return nil, report
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		if errs := undefinedReferences(compiled, name); name != builtinName && len(errs) > 0 {
			report.add(errs)
		}
	}
	rules, err := prepare(ctx, compiled, report.Revision)
	if err != nil {
		report.add(err)
		return nil, report
	}
	if len(tests) > 0 {
		maps.Copy(tests, modules)
		runTests(ctx, l, tests, &report)
	}
	decideSamples(ctx, l, rules, &report)
	if err := ctx.Err(); err != nil {
		report.add(err)
	}
	if len(report.Problems) > 0 {
		return nil, report
	}
	return rules, report
}

// parse reads the rules and the tests, and checks that they only add to the
// built-in rules.
func parse(files map[string]string, report *Report) (modules, tests map[string]*ast.Module) {
	modules, tests = map[string]*ast.Module{builtinName: builtinModule()}, map[string]*ast.Module{}
	for _, name := range report.Files {
		module, err := ast.ParseModuleWithOpts(name, files[name], ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			report.add(err)
			continue
		}
		if errs := checkTeamFile(name, module); len(errs) > 0 {
			report.add(errs)
		}
		if strings.HasSuffix(name, testSuffix) {
			tests[name] = module
		} else {
			modules[name] = module
		}
	}
	return modules, tests
}

// runTests runs every rule whose name starts with test_, one after the other, so
// that a reload leaves the server's other processors free.
func runTests(ctx context.Context, l limits, modules map[string]*ast.Module, report *Report) {
	values := ast.NewObject()
	for name, sample := range samples() {
		values.Insert(ast.StringTerm(name), ast.NewTerm(sample))
	}
	store := inmem.NewFromASTObject(ast.NewObject(ast.Item(ast.StringTerm(samplesName), ast.NewTerm(values))))
	txn, err := store.NewTransaction(ctx, storage.TransactionParams{})
	if err != nil {
		report.add(err)
		return
	}
	defer store.Abort(ctx, txn)
	results, err := tester.NewRunner().SetCompiler(compiler()).SetStore(store).RaiseBuiltinErrors(true).
		SetTimeout(l.test).SetParallel(1).SetModules(modules).RunTests(ctx, txn)
	if err != nil {
		report.add(err)
		return
	}
	for result := range results {
		t := TestResult{
			Name: strings.TrimPrefix(result.Package, "data.") + "." + result.Name,
			File: result.Location.File, Line: result.Location.Row, Outcome: testPassed,
		}
		problem := Problem{File: t.File, Line: t.Line}
		switch {
		case result.Skip:
			t.Outcome = testSkipped
		case topdown.IsCancel(result.Error):
			t.Outcome, problem.Text = testBroken, fmt.Sprintf("test %s did not end within %s", t.Name, l.test)
		case result.Error != nil:
			t.Outcome, problem.Text = testBroken, fmt.Sprintf("test %s: %v", t.Name, result.Error)
		case result.Fail:
			t.Outcome, problem.Text = testFailed, fmt.Sprintf("test %s fails", t.Name)
		}
		report.Tests = append(report.Tests, t)
		if problem.Text != "" {
			report.Problems = append(report.Problems, problem)
		}
	}
	slices.SortFunc(report.Tests, func(a, b TestResult) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
	slices.SortFunc(report.Problems, func(a, b Problem) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
}

// decideSamples stops at the first sample without a decision, because the same
// problem would repeat at the others.
func decideSamples(ctx context.Context, l limits, rules *ruleset, report *Report) {
	for _, name := range slices.Sorted(maps.Keys(samples())) {
		verdict, err := rules.decide(ctx, l.evaluation, samples()[name])
		if err == nil {
			_, err = rules.explain(ctx, l.evaluation, samples()[name])
		}
		if err != nil {
			report.Problems = append(report.Problems, Problem{Text: fmt.Sprintf("no decision on the sample %s: %v", name, err)})
			return
		}
		report.Samples = append(report.Samples, SampleResult{
			Name: name, Outcome: string(verdict.Outcome), Code: string(verdict.Code), Explanation: verdict.Explanation,
		})
	}
}

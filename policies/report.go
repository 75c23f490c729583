package policies

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Report is the result of checking a revision of the rules.
type Report struct {
	Revision string         `json:"revision"`
	Files    []string       `json:"files"`
	Tests    []TestResult   `json:"tests"`
	Samples  []SampleResult `json:"samples"`
	Problems []Problem      `json:"problems"`
}

func newReport(files map[string]string) Report {
	return Report{
		Revision: revision(files), Files: slices.Sorted(maps.Keys(files)),
		Tests: []TestResult{}, Samples: []SampleResult{}, Problems: []Problem{},
	}
}

// TestResult is one Rego test. Outcome is pass, fail, error or skipped.
type TestResult struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Outcome string `json:"outcome"`
}

// The outcomes of a test.
const (
	testPassed  = "pass"
	testFailed  = "fail"
	testBroken  = "error"
	testSkipped = "skipped"
)

// SampleResult is the decision on one sample.
type SampleResult struct {
	Name        string   `json:"name"`
	Outcome     string   `json:"outcome"`
	Code        string   `json:"code"`
	Explanation []string `json:"explanation"`
}

// Problem is one reason why a revision is not loaded. File and Line are its place,
// if it has one; Detail has more lines about it.
type Problem struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Text   string `json:"text"`
	Detail string `json:"detail"`
}

// String is the problem in one line.
func (p Problem) String() string {
	if p.File == "" {
		return p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Err is nil for a revision that may be loaded, and names all problems of another.
func (r Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	texts := make([]string, len(r.Problems))
	for i, p := range r.Problems {
		texts[i] = p.String()
	}
	return errors.New(strings.Join(texts, "; "))
}

// add records an error of Open Policy Agent, one problem for each place.
func (r *Report) add(err error) {
	var one *ast.Error
	var several ast.Errors
	switch {
	case errors.As(err, &several):
		for _, e := range several {
			r.addOne(e)
		}
	case errors.As(err, &one):
		r.addOne(one)
	default:
		r.Problems = append(r.Problems, Problem{Text: err.Error()})
	}
}

func (r *Report) addOne(e *ast.Error) {
	p := Problem{Text: e.Message}
	if e.Location != nil {
		p.File, p.Line = e.Location.File, e.Location.Row
	}
	if e.Details != nil {
		p.Detail = strings.Join(e.Details.Lines(), "\n")
	}
	r.Problems = append(r.Problems, p)
}

package policies

import (
	_ "embed"
	"strconv"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

//go:embed countersign_test.rego
var builtinTests string

// TestRego runs the rules' own unit tests under the capabilities of production.
func TestRego(t *testing.T) {
	modules := map[string]*ast.Module{}
	for name, text := range map[string]string{"countersign.rego": builtinText, "countersign_test.rego": builtinTests} {
		module, err := ast.ParseModule(name, text)
		if err != nil {
			t.Fatal(err)
		}
		modules[name] = module
	}
	var report Report
	runTests(t.Context(), production, modules, &report)
	for _, p := range report.Problems {
		t.Error(p)
	}
	if want := strings.Count(builtinTests, "\ntest_"); len(report.Tests) != want {
		t.Errorf("%d of %d Rego tests ran", len(report.Tests), want)
	}
}

// TestRulesReachNothingOutside proves that the builtins are gone, not only unused.
func TestRulesReachNothingOutside(t *testing.T) {
	for _, call := range []string{
		`http.send({"method": "get", "url": "http://127.0.0.1"})`,
		`net.lookup_ip_addr("localhost")`,
		`opa.runtime()`,
		`rand.intn("a", 5)`,
		`time.now_ns()`,
		`uuid.rfc4122("a")`,
		`io.jwt.encode_sign({}, {}, {})`,
		`io.jwt.decode_verify("", {})`,
		`crypto.x509.parse_and_verify_certificates("")`,
		`json.match_schema({}, {"$ref": "http://127.0.0.1:1/schema.json"})`,
	} {
		_, report := check(t.Context(), production, map[string]string{"x.rego": "package x\nx := " + call})
		if err := report.Err(); err == nil || !strings.Contains(err.Error(), "undefined function") {
			t.Errorf("%s: %v, want an undefined function", call, err)
		}
	}
	for _, b := range capabilities().Builtins {
		if b.Nondeterministic {
			t.Errorf("the nondeterministic %s is left", b.Name)
		}
	}
}

// TestRegoBoundsAreTheDomains keeps the one number that both name in step.
func TestRegoBoundsAreTheDomains(t *testing.T) {
	if line := "max_passphrase := " + strconv.Itoa(engine.MaxPassphrase); !strings.Contains(builtinText, line+"\n") {
		t.Errorf("countersign.rego does not say %q", line)
	}
}

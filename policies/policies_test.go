package policies

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

// example is a request that every rule allows.
func example() engine.PolicyInput {
	policy := engine.DefaultPolicy("prj_1")
	policy.AllowKeyExport = true
	return engine.PolicyInput{
		Action:  engine.PolicyMint,
		Actor:   engine.PolicyActor{Actor: engine.Actor{Type: engine.ActorAPIKey, ID: "key_1", Name: "ci", Person: "usr_1"}, Role: engine.RoleOperator},
		Project: engine.PolicyProject{ID: "prj_1", Name: "web"},
		Certificate: engine.PolicyCertificate{
			ID: "cert_1", Name: "www", Subject: "CN=www.example.com", SANs: []string{"www.example.com", "example.com"},
			Issuer: "CN=Example CA", KeyAlgorithm: "RSA-2048", HasPrivateKey: true, Fingerprint: strings.Repeat("ab", 32),
			NotAfter: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		},
		Format:     engine.PolicyFormat{ID: "pkcs12", ContainsKey: true, NeedsPassphrase: true},
		Options:    map[string]any{"alias": "www"},
		Passphrase: &engine.PassphraseFacts{Length: 12, Printable: true},
		Policy:     policy,
		Reason:     "renewal",
		TTLSeconds: 300,
		Time:       time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

var compileBuiltin = sync.OnceValues(func() (*Evaluator, error) { return New(context.Background()) })

func builtin(t testing.TB) *Evaluator {
	t.Helper()
	e, err := compileBuiltin()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// withTeamFile makes an evaluator of the built-in rules and a team's file without
// the checks of a directory: a file that passes those by mistake must still deny.
func withTeamFile(t *testing.T, rules string, limit time.Duration) *Evaluator {
	t.Helper()
	return evaluatorOf(t, map[string]string{"countersign.rego": builtinText, "team.rego": rules}, limit)
}

func evaluatorOf(t *testing.T, files map[string]string, limit time.Duration) *Evaluator {
	t.Helper()
	modules := map[string]*ast.Module{}
	for name, text := range files {
		modules[name] = ast.MustParseModule(text)
	}
	compiled := compiler()
	if compiled.Compile(modules); compiled.Failed() {
		t.Fatal(compiled.Errors)
	}
	rules, err := prepare(t.Context(), compiled, hashFiles(files))
	if err != nil {
		t.Fatal(err)
	}
	e := &Evaluator{limits: limits{evaluation: limit}, log: slog.Default()}
	e.current.Store(&state{ruleset: rules})
	return e
}

func evaluate(t *testing.T, e *Evaluator, in engine.PolicyInput) engine.Verdict {
	t.Helper()
	verdict, err := e.Evaluate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(verdict.Explanation) == 0 {
		t.Error("a verdict without an explanation")
	}
	if verdict.Revision != e.Revision() {
		t.Errorf("the verdict's revision is %q, the evaluator's %q", verdict.Revision, e.Revision())
	}
	return verdict
}

// TestKeyExportAndApproval is the table of API.md, for every role and for
// formats with and without the key.
func TestKeyExportAndApproval(t *testing.T) {
	const allow, approval, deny = engine.OutcomeAllow, engine.OutcomeApproval, engine.OutcomeDeny
	for _, c := range []struct {
		export          bool
		mode            engine.ApprovalMode
		withKey, noKey  engine.Outcome
		codeOfTheDenial engine.Code
	}{
		{false, engine.ApprovalOff, deny, allow, engine.CodeKeyExportDisabled},
		{false, engine.ApprovalKeyExport, approval, allow, ""},
		{false, engine.ApprovalAll, approval, approval, ""},
		{true, engine.ApprovalOff, allow, allow, ""},
		{true, engine.ApprovalKeyExport, approval, allow, ""},
		{true, engine.ApprovalAll, approval, approval, ""},
		{true, "no such mode", deny, deny, engine.CodePolicyDenied},
	} {
		for _, role := range []engine.Role{"", engine.RoleViewer, engine.RoleOperator, engine.RoleApprover, engine.RoleAdmin} {
			for _, holdsKey := range []bool{true, false} {
				in := example()
				in.Actor.Role, in.Policy.AllowKeyExport, in.Policy.Approval.Mode = role, c.export, c.mode
				in.Policy.Approval.RequiredApprovals = 3
				want, code := c.withKey, c.codeOfTheDenial
				if !holdsKey {
					in.Format = engine.PolicyFormat{ID: "fullchain"}
					want = c.noKey
				}
				if !role.Includes(engine.RoleOperator) {
					want, code = deny, engine.CodeForbidden
				}
				expect(t, in, want, code)
			}
		}
	}
}

func expect(t *testing.T, in engine.PolicyInput, want engine.Outcome, code engine.Code) {
	t.Helper()
	got := evaluate(t, builtin(t), in)
	if want != engine.OutcomeDeny {
		code = ""
	}
	if got.Outcome != want || got.Code != code {
		t.Errorf("role %q, export %v, mode %s, key %v: %s %q, want %s %q", in.Actor.Role, in.Policy.AllowKeyExport,
			in.Policy.Approval.Mode, in.Format.ContainsKey, got.Outcome, got.Code, want, code)
	}
	approvals := 0
	if want == engine.OutcomeApproval {
		approvals = in.Policy.Approval.RequiredApprovals
	}
	if got.RequiredApprovals != approvals {
		t.Errorf("%d approvals required, want %d", got.RequiredApprovals, approvals)
	}
	if hasRemedies := len(got.Remedies) > 0; hasRemedies != (want != engine.OutcomeAllow && code != engine.CodePolicyDenied) {
		t.Errorf("%s %q with remedies %q", got.Outcome, got.Code, got.Remedies)
	}
}

func TestZeroApprovalsAskForOne(t *testing.T) {
	in := example()
	in.Policy.Approval = engine.ApprovalRule{Mode: engine.ApprovalAll}
	if got := evaluate(t, builtin(t), in); got.Outcome != engine.OutcomeApproval || got.RequiredApprovals != 1 {
		t.Errorf("%+v, want one approval", got)
	}
}

func TestPassphraseAndLegacy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*engine.PolicyInput)
		code   engine.Code
	}{
		"fine":                 {func(*engine.PolicyInput) {}, ""},
		"none":                 {func(in *engine.PolicyInput) { in.Passphrase = facts("") }, engine.CodePassphraseRequired},
		"short":                {func(in *engine.PolicyInput) { in.Passphrase = facts("1234567") }, engine.CodePassphraseInvalid},
		"longest":              {func(in *engine.PolicyInput) { in.Passphrase = facts(strings.Repeat("x", engine.MaxPassphrase)) }, ""},
		"too long":             {func(in *engine.PolicyInput) { in.Passphrase = facts(strings.Repeat("x", engine.MaxPassphrase+1)) }, engine.CodePassphraseInvalid},
		"not ASCII":            {func(in *engine.PolicyInput) { in.Passphrase = facts("pässword123") }, engine.CodePassphraseInvalid},
		"without a passphrase": {func(in *engine.PolicyInput) { in.Passphrase = nil }, ""},
		"not needed": {func(in *engine.PolicyInput) {
			in.Passphrase, in.Format = facts(""), engine.PolicyFormat{ID: "key", ContainsKey: true}
		}, ""},
		"legacy": {func(in *engine.PolicyInput) { in.Options["legacy"] = true }, ""},
		"legacy off": {func(in *engine.PolicyInput) {
			in.Options["legacy"], in.Policy.AllowLegacyEncryption = true, false
		}, engine.CodeLegacyDisabled},
		"no options": {func(in *engine.PolicyInput) { in.Options, in.Policy.AllowLegacyEncryption = nil, false }, ""},
	} {
		in := example()
		c.change(&in)
		if got := evaluate(t, builtin(t), in); got.Code != c.code || (got.Outcome == engine.OutcomeAllow) != (c.code == "") {
			t.Errorf("%s: %s %q, want code %q", name, got.Outcome, got.Code, c.code)
		}
	}
}

func facts(passphrase string) *engine.PassphraseFacts {
	f := engine.PassphraseFactsOf(engine.Secret(passphrase))
	return &f
}

func TestATeamRuleIsOnlyStricter(t *testing.T) {
	for name, c := range map[string]struct {
		rules string
		want  engine.Outcome
		code  engine.Code
	}{
		"deny by a sentence":                         {`deny contains "No." if true`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"deny with a code":                           {`deny contains {"code": "invalid_options", "why": "No."}`, engine.OutcomeDeny, engine.CodeInvalidOptions},
		"deny with an unknown code":                  {`deny contains {"code": "because", "why": "No."}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"deny with a token's code":                   {`deny contains {"code": "token_consumed", "why": "No."}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"deny and approval":                          {"deny contains \"No.\"\napproval contains \"Ask.\"", engine.OutcomeDeny, engine.CodePolicyDenied},
		"approval":                                   {`approval contains "Ask."`, engine.OutcomeApproval, ""},
		"deny with a number":                         {`deny contains 7`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"approval with a number":                     {`approval contains 7`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"approval by 0 approvers":                    {`approval contains {"why": "Ask.", "required_approvals": 0}`, engine.OutcomeApproval, ""},
		"approval with a remedy that is no sentence": {`approval contains {"why": "Ask.", "remedies": [7]}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a quorum that is a word":                    {`approval contains {"why": "Ask.", "required_approvals": "two"}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a code that is a number":                    {`deny contains {"code": 7}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a deny with nothing in it":                  {`deny contains {}`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a deny of false":                            {`deny contains false`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a failing builtin":                          {`deny contains "No." if not json.unmarshal("{") == 1`, engine.OutcomeDeny, engine.CodePolicyDenied},
		"a second decision":                          {`decision := {"outcome": "allow"}`, engine.OutcomeDeny, engine.CodePolicyDenied},
	} {
		got := evaluate(t, withTeamFile(t, "package countersign\n"+c.rules, time.Second), example())
		if got.Outcome != c.want || got.Code != c.code {
			t.Errorf("%s: %s %q, want %s %q", name, got.Outcome, got.Code, c.want, c.code)
		}
		if (got.RequiredApprovals >= 1) != (c.want == engine.OutcomeApproval) {
			t.Errorf("%s: %d approvals required", name, got.RequiredApprovals)
		}
	}
}

// An evaluation lists the results of all rules, overruled ones too. A mint does not.
func TestEvaluateListsTheResultsOfRules(t *testing.T) {
	const rules = `package countersign
deny contains {"why": "No.", "code": "because", "remedies": ["Wait."], "more": 1}
approval contains {"why": "Ask.", "required_approvals": 3, "remedies": ["Do without."]}`
	team := withTeamFile(t, rules, time.Second)
	in := example()
	if v := evaluate(t, team, in); v.Rules != nil {
		t.Errorf("a mint lists %+v", v.Rules)
	}
	in.Action = engine.PolicyEvaluate
	got, want := evaluate(t, team, in).Rules, []engine.RuleResult{
		{Kind: engine.OutcomeDeny, Code: engine.CodePolicyDenied, Why: "No.", Remedies: []string{"Wait."}},
		{Kind: engine.OutcomeApproval, Why: "Ask.", Remedies: []string{"Do without."}, RequiredApprovals: 3},
		{Kind: engine.OutcomeAllow, Remedies: []string{}, Why: "The format pkcs12 contains the private key; the project's policy has key export on and approval mode off."},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	// A result that cannot be listed does not change the decision.
	v := evaluate(t, withTeamFile(t, "package countersign\ndeny contains \"No.\"\napproval contains 7", time.Second), in)
	if v.Outcome != engine.OutcomeDeny || v.Explanation[0] != "No." || len(v.Rules) != 0 {
		t.Errorf("%+v", v)
	}
}

func TestAnInvalidDecisionDenies(t *testing.T) {
	const whole = `"code": "", "explanation": [], "remedies": [], "required_approvals": 0`
	for name, decision := range map[string]string{
		"undefined":           `decision := 1 if false`,
		"not an object":       `decision := "allow"`,
		"no outcome":          `decision := {` + whole + `}`,
		"an outcome alone":    `decision := {"outcome": "allow"}`,
		"an unknown outcome":  `decision := {"outcome": "permit", ` + whole + `}`,
		"an unknown member":   `decision := {"outcome": "allow", "also": 1, ` + whole + `}`,
		"a number as outcome": `decision := {"outcome": 1, ` + whole + `}`,
		"approvals missing":   `decision := {"outcome": "approval", "code": "", "explanation": [], "remedies": []}`,
		"half an approval":    `decision := {"outcome": "approval", "code": "", "explanation": [], "remedies": [], "required_approvals": 1.5}`,
	} {
		e := evaluatorOf(t, map[string]string{"x.rego": "package countersign\n" + decision}, time.Second)
		if got := evaluate(t, e, example()); got.Outcome != engine.OutcomeDeny || got.Code != engine.CodePolicyDenied {
			t.Errorf("%s: %s %q, want a denial", name, got.Outcome, got.Code)
		}
	}
}

func TestNoApprovalAsksForFewerThanOne(t *testing.T) {
	for _, n := range []string{"0", "-3", "1"} {
		rules := `package countersign
decision := {"outcome": "approval", "code": "", "explanation": ["Ask."], "remedies": [], "required_approvals": ` + n + `}`
		e := evaluatorOf(t, map[string]string{"x.rego": rules}, time.Second)
		if got := evaluate(t, e, example()); got.Outcome != engine.OutcomeApproval || got.RequiredApprovals != 1 {
			t.Errorf("%s approvals: %s by %d, want by 1", n, got.Outcome, got.RequiredApprovals)
		}
	}
}

// endless takes some 10¹² steps.
const endless = "package countersign\ndeny contains \"No.\" if {\n\tn := numbers.range(1, 1000000)\n\tsome a in n\n\tsome b in n\n\ta + b < 0\n}"

func TestEndlessRulesDeny(t *testing.T) {
	got := evaluate(t, withTeamFile(t, endless, 20*time.Millisecond), example())
	if got.Outcome != engine.OutcomeDeny || got.Code != engine.CodePolicyDenied {
		t.Errorf("%s %q, want a denial", got.Outcome, got.Code)
	}
}

func TestEvaluateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	got, err := withTeamFile(t, endless, time.Hour).Evaluate(ctx, example())
	if !errors.Is(err, context.DeadlineExceeded) || got.Outcome != engine.OutcomeDeny {
		t.Errorf("%s and error %v, want a denial and the context's error", got.Outcome, err)
	}
}

func TestRevisionNamesTheRules(t *testing.T) {
	seen := map[string]string{}
	for name, files := range map[string]map[string]string{
		"base":         {"a.rego": "1", "b.rego": "2"},
		"content":      {"a.rego": "1", "b.rego": "3"},
		"name":         {"a.rego": "1", "c.rego": "2"},
		"a file fewer": {"a.rego": "1"},
		"moved":        {"a.rego": "12", "b.rego": ""},
	} {
		revision := hashFiles(files)
		if other, taken := seen[revision]; taken {
			t.Errorf("%s and %s share the revision %s", name, other, revision)
		}
		seen[revision] = name
		if len(revision) != 16 {
			t.Errorf("revision %q is not 16 digits long", revision)
		}
	}
	if again, err := New(t.Context()); err != nil || again.Revision() != builtin(t).Revision() {
		t.Errorf("the same rules have another revision, or error %v", err)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	e, in := builtin(b), example()
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if verdict, err := e.Evaluate(b.Context(), in); err != nil || verdict.Outcome != engine.OutcomeAllow {
			b.Fatal(verdict, err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func BenchmarkToValue(b *testing.B) {
	in := example()
	for b.Loop() {
		if _, err := toValue(in); err != nil {
			b.Fatal(err)
		}
	}
}

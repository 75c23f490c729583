package policies

import (
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

func report(t *testing.T, files map[string]string) Report {
	t.Helper()
	_, r := check(t.Context(), production, files)
	return r
}

// TestTeamFilesCannotChangeTheBuiltInRules lists ways to make a decision less
// strict. Each is refused by file and line.
func TestTeamFilesCannotChangeTheBuiltInRules(t *testing.T) {
	for name, c := range map[string]struct{ text, place, want string }{
		"decision":              {"package countersign\n\ndecision := {\"outcome\": \"allow\"}", "team.rego:3: ", "decision is a name of the built-in rules"},
		"allow":                 {"package countersign\nallow contains \"Yes.\"", "team.rego:2: ", "allow is a name"},
		"role":                  {"package countersign\nrole := \"admin\"", "team.rego:2: ", "role is a name"},
		"a default":             {"package countersign\ndefault approved := true", "team.rego:2: ", "approved is a name"},
		"a function":            {"package countersign\nreason(r) := r", "team.rego:2: ", "reason is a name"},
		"below a rule":          {"package countersign\ndecision.outcome := \"allow\"", "team.rego:2: ", "decision is a name"},
		"by index":              {"package countersign\nmode[\"x\"] := \"off\"", "team.rego:2: ", "mode is a name"},
		"a package of the name": {"package countersign.not_blocked\nx := 1", "team.rego:1: ", "name of the built-in rules"},
		"a package below it":    {"package countersign.role.x\nx := 1", "team.rego:1: ", "name of the built-in rules"},
		"a quoted package":      {"package countersign[\"allow\"]\nx := 1", "team.rego:1: ", "name of the built-in rules"},
		"a package of a set":    {"package countersign.deny\nx := 1", "team.rego:1: ", "name of the built-in rules"},
		"a language function":   {"package countersign\ncount(_) := 0", "team.rego:2: ", "count is a name"},
		"an operator":           {"package countersign\ngt(_, _) := false", "team.rego:2: ", "gt is a name"},
		"a function's family":   {"package countersign\narray.concat(_, _) := []", "team.rego:2: ", "array is a name"},
		"a variable":            {"package countersign\nr := 1", "team.rego:2: ", "r is a name"},
		"deny emptied":          {"package countersign\ndeny := set()", "team.rego:2: ", "may only add to deny"},
		"deny by default":       {"package countersign\ndefault deny := false", "team.rego:2: ", "may only add to deny"},
		"deny as a map":         {"package countersign\ndeny[\"x\"] := 1", "team.rego:2: ", "may only add to deny"},
		"below approval":        {"package countersign\napproval.x contains 1", "team.rego:2: ", "may only add to approval"},
		"approval as function":  {"package countersign\napproval(x) := x", "team.rego:2: ", "may only add to approval"},
		"the samples":           {"package samples\nx := 1", "team.rego:1: ", "reserved for the samples"},
		"an unknown member":     {"package countersign\n\ndeny contains \"No.\" if input.polcy.allow_key_export", "team.rego:3: ", "undefined ref: input.polcy"},
		"deeper":                {"package x\ny if input.certificate.san == \"a\"", "team.rego:2: ", "undefined ref: input.certificate.san"},
		"in the passphrase":     {"package x\ny if input.passphrase.lenght < 9", "team.rego:2: ", "undefined ref: input.passphrase.lenght"},
		"the wrong type":        {"package x\ny if input.ttl_seconds == \"300\"", "team.rego:2: ", "match error"},
		"unknown data":          {"package countersign\ndeny contains \"No.\" if input.actor.id in data.tables.blocked", "team.rego:2: ", "no rule defines data.tables.blocked"},
		"samples as data":       {"package countersign\ndeny contains \"No.\" if data.samples.x", "team.rego:2: ", "no rule defines data.samples.x"},
		"a recursion":           {"package countersign\ndeny contains \"No.\" if decision.outcome == \"allow\"", "countersign.rego:", "recursive"},
		"no Rego":               {"package countersign\ndeny contains", "team.rego:2: ", "unexpected eof"},
		"nothing":               {"", "team.rego:0: ", "empty module"},
	} {
		err := report(t, map[string]string{"team.rego": c.text}).Err()
		if err == nil || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s%s", name, err, c.place, c.want)
		}
	}
}

func TestTestFilesAddNothingToTheRules(t *testing.T) {
	const test = "package countersign\ntest_it if deny == set() with input as data.samples.operator_mints_key\n"
	if err := report(t, map[string]string{"team_test.rego": test}).Err(); err != nil {
		t.Error(err)
	}
	err := report(t, map[string]string{"team_test.rego": test + "deny contains \"No.\""}).Err()
	if err == nil || !strings.Contains(err.Error(), "team_test.rego:3: ") {
		t.Errorf("a deny in a test file: %v", err)
	}
	err = report(t, map[string]string{
		"team.rego":      "package countersign\ndeny contains \"No.\" if input.actor.id in data.tables.blocked",
		"team_test.rego": "package tables\nblocked := {\"usr_otto\"}",
	}).Err()
	if err == nil || !strings.Contains(err.Error(), "team.rego:2: no rule defines data.tables.blocked") {
		t.Errorf("a table in a test file: %v", err)
	}
}

// TestPermittedTeamRules tests permitted rules that resemble forbidden ones.
func TestPermittedTeamRules(t *testing.T) {
	err := report(t, map[string]string{
		"team.rego": `package countersign

import data.tables
import data.countersign.helpers

deny contains "No." if input.actor.id in tables.blocked

deny contains sprintf("%s is denied.", [input.actor.name]) if not is_operator

approval contains {"why": "Ask.", "required_approvals": tables.needed.payments.keys} if {
	input.project.id == tables.named["payments"]
	contains_key
}

approval contains "Ask." if {
	some project, limit in tables.limits
	project == input.project.name
	helpers.above(input.ttl_seconds, limit)
}

approval contains "Ask." if count(data.countersign.deny_reasons) > 9

approval contains "Ask." if {
	not is_null(input.passphrase)
	input.passphrase.length < tables.shortest[role]
	data.tables.weekday[_] == "Friday"
}

is_operator if role in {"operator", "admin", "approver"}

deny_reasons contains "x"
`,
		"tables.rego": `package tables

blocked contains "usr_eve"

needed := {"payments": {"keys": 2}}

named["payments"] := "prj_payments"

limits[name] := 60 if some name in ["Payments", "Web"]

shortest.admin := 20

shortest.operator := 12

weekday := [time.weekday(time.parse_rfc3339_ns(input.time))]
`,
		"helpers.rego": "package countersign.helpers\n\nabove(n, limit) if n > limit\n",
		"empty.rego":   "package nothing.yet\n",
	}).Err()
	if err != nil {
		t.Error(err)
	}
}

// A check ends in time although compiling ignores a deadline.
func TestACheckEndsInTime(t *testing.T) {
	hasty := production
	hasty.revision = time.Nanosecond
	rules, r, ended := checkWithin(t.Context(), hasty, map[string]string{"team.rego": denies("No.")})
	<-ended
	if err := r.Err(); rules != nil || err == nil || r.Revision != revision(map[string]string{"team.rego": denies("No.")}) {
		t.Errorf("%v, %v", rules, err)
	}
}

// TestTeamRulesAreOnlyStricter compares decisions with and without a team's rules,
// on every sample with every mode, unknown ones too, and every action.
func TestTeamRulesAreOnlyStricter(t *testing.T) {
	strictness := map[engine.Outcome]int{engine.OutcomeAllow: 0, engine.OutcomeApproval: 1, engine.OutcomeDeny: 2}
	base, _ := check(t.Context(), production, nil)
	type variant struct {
		input   ast.Value
		outcome engine.Outcome
	}
	var all []variant
	for _, sample := range samples() {
		for _, input := range variants(t, sample) {
			verdict, err := base.decide(t.Context(), production.evaluation, input)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, variant{input, verdict.Outcome})
		}
	}
	for _, text := range []string{
		`approval contains "Ask."`, `approval contains {"why": "Ask.", "required_approvals": 0}`, `approval contains {"code": "x", "required_approvals": 9}`,
		`deny contains "No."`, `deny contains {"code": "forbidden"}`,
		"mine(x) := x\n\napproval contains \"Ask.\" if mine(contains_key)",
		`approval contains "Ask." if input.action == "mint"`, `deny contains "No." if approved`,
	} {
		team, r := check(t.Context(), production, map[string]string{"team.rego": "package countersign\n" + text})
		if err := r.Err(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, v := range all {
			verdict, err := team.decide(t.Context(), production.evaluation, v.input)
			if err != nil || strictness[verdict.Outcome] < strictness[v.outcome] {
				t.Errorf("%s turns %s into %s (%v):\n%v", text, v.outcome, verdict.Outcome, err, v.input)
			}
		}
	}
}

func variants(t *testing.T, sample ast.Value) []ast.Value {
	var all []ast.Value
	for _, mode := range []string{"off", "key_export", "all", "none"} {
		policy := put(t, sample.(ast.Object).Get(ast.StringTerm("policy")).Value, "approval",
			ast.NewObject(ast.Item(ast.StringTerm("mode"), ast.StringTerm(mode))))
		for _, action := range []string{engine.PolicyMint, engine.PolicyClaim, engine.PolicyRedeem, engine.PolicyEvaluate, "other"} {
			for _, approvals := range []int{0, 99} {
				if approvals == 0 || action == engine.PolicyClaim || action == engine.PolicyRedeem {
					all = append(all, put(t, put(t, put(t, sample, "policy", policy), "action", ast.String(action)), "approvals", ast.InternedTerm(approvals).Value))
				}
			}
		}
	}
	return all
}

// put is an object with one member changed.
func put(t *testing.T, object ast.Value, name string, value ast.Value) ast.Value {
	t.Helper()
	changed, ok := ast.NewObject(ast.Item(ast.StringTerm(name), ast.NewTerm(value))).Merge(object.(ast.Object))
	if ok {
		return changed
	}
	changed = ast.NewObject()
	object.(ast.Object).Foreach(func(k, v *ast.Term) {
		if k.Value.Compare(ast.String(name)) == 0 {
			v = ast.NewTerm(value)
		}
		changed.Insert(k, v)
	})
	return changed
}

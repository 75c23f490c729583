package policies

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("urn:input", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("urn:input")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// conforms validates an input, as the rules see it, against the schema.
func conforms(t *testing.T, schema *jsonschema.Schema, input ast.Value) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(input.String()))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(document)
}

func TestTheInputConformsToItsSchema(t *testing.T) {
	schema := compiledSchema(t)
	full := engine.PolicyInput{Action: engine.PolicyMint, Options: map[string]any{"legacy": true}}
	fill(t, reflect.ValueOf(&full).Elem())
	for name, in := range map[string]engine.PolicyInput{"full": full, "example": example(), "zero": {Action: engine.PolicyEvaluate}} {
		value, err := toValue(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := conforms(t, schema, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := conforms(t, schema, put(t, samples()["operator_mints_key"], "polcy", ast.Null{})); err == nil {
		t.Error("a member that no input has conforms")
	}
}

// TestTheSchemaHasEveryMember compares the schema's members with those of the
// Go types, both ways.
func TestTheSchemaHasEveryMember(t *testing.T) {
	type node struct {
		Properties map[string]json.RawMessage
		Required   []string
	}
	var compare func(at string, document json.RawMessage, value any)
	compare = func(at string, document json.RawMessage, value any) {
		members, isObject := value.(map[string]any)
		if !isObject || at == ".options" {
			return
		}
		var n node
		if err := json.Unmarshal(document, &n); err != nil {
			t.Fatal(err)
		}
		for name, member := range members {
			if n.Properties[name] == nil || !slices.Contains(n.Required, name) {
				t.Errorf("the schema lacks %s.%s", at, name)
				continue
			}
			compare(at+"."+name, n.Properties[name], member)
		}
		for name := range n.Properties {
			if _, there := members[name]; !there {
				t.Errorf("the schema has %s.%s, which no input has", at, name)
			}
		}
	}
	var full engine.PolicyInput
	full.Options = map[string]any{"legacy": true}
	fill(t, reflect.ValueOf(&full).Elem())
	var value any
	if err := json.Unmarshal(jsonForm(t, full), &value); err != nil {
		t.Fatal(err)
	}
	compare("", json.RawMessage(Schema), value)
}

// The samples conform to the schema and cover the values that rules distinguish.
func TestTheSamplesCoverTheInput(t *testing.T) {
	schema := compiledSchema(t)
	seen := map[string]bool{}
	for name, sample := range samples() {
		if err := conforms(t, schema, sample); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, path := range []string{"action", "actor/role", "format/contains_key", "policy/approval/mode", "policy/allow_key_export"} {
			ref := ast.EmptyRef()
			for _, element := range strings.Split(path, "/") {
				ref = ref.Append(ast.StringTerm(element))
			}
			value, err := sample.Find(ref)
			if err != nil {
				t.Fatal(err)
			}
			seen[path+"="+value.String()] = true
		}
	}
	for _, r := range report(t, nil).Samples {
		seen[r.Outcome] = true
	}
	for _, want := range []string{
		`action="mint"`, `action="claim"`, `action="redeem"`, `action="evaluate"`,
		`actor/role="viewer"`, `actor/role="operator"`, `actor/role="approver"`, `actor/role="admin"`,
		"format/contains_key=true", "format/contains_key=false", "policy/allow_key_export=true", "policy/allow_key_export=false",
		`policy/approval/mode="off"`, `policy/approval/mode="key_export"`, `policy/approval/mode="all"`,
		"allow", "approval", "deny",
	} {
		if !seen[want] {
			t.Errorf("no sample has %s", want)
		}
	}
}

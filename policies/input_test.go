package policies

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/countersign-dev/countersign/engine"
)

// TestInputIsItsJSONForm compares the direct conversion with encoding/json's, for an
// input with every member set and for the zero one. It fails if a member of
// engine.PolicyInput is missing in toValue.
func TestInputIsItsJSONForm(t *testing.T) {
	full := engine.PolicyInput{Options: map[string]any{"legacy": true, "alias": "www", "n": 1.5}}
	fill(t, reflect.ValueOf(&full).Elem())
	zero := engine.PolicyInput{Options: map[string]any{}}
	zero.Certificate.SANs = []string{}
	zero.Actor.Username, zero.Policy.UpdatedBy.Username = "left out", "if empty"
	for name, in := range map[string]engine.PolicyInput{"full": full, "zero": zero} {
		want, err := ast.ValueFromReader(bytes.NewReader(jsonForm(t, in)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := toValue(in)
		if err != nil {
			t.Fatal(err)
		}
		if got.Compare(want) != 0 {
			t.Errorf("%s input is\n%v, want\n%v", name, got, want)
		}
	}
}

// jsonForm is the input as encoding/json writes it. The rules call the time of a
// policy's version created_at.
func jsonForm(t *testing.T, in engine.PolicyInput) []byte {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Replace(text, []byte(`"updated_at":`), []byte(`"created_at":`), 1)
}

// fill sets every zero member to another value.
func fill(t *testing.T, v reflect.Value) {
	if !v.IsZero() && v.Kind() != reflect.Struct {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
	case reflect.String:
		v.SetString("some \"text\" — ü")
	case reflect.Int:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		t.Fatalf("a member of kind %s: teach this test and toValue about it", v.Kind())
	}
}

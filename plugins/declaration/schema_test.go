package declaration

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

func TestInvalidSchemasAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`nonsense`:                             "not JSON",
		`[]`:                                   "not an object",
		`{"type":"array"}`:                     `"type" has a value`,
		`{"$schema":"http://example.test"}`:    `"$schema" has a value`,
		`{"allOf":[]}`:                         `"allOf" is not allowed at its top level`,
		`{"required":"a"}`:                     `"required" has a value`,
		`{"properties":{"a":{"type":"no"}}}`:   "options schema",
		`{"properties":{"a":{"pattern":"("}}}`: "options schema",
		`{"properties":{"a":{"$id":"urn:a","$schema":"file:///etc/passwd"}}}`:          "must not refer to another document",
		`{"properties":{"a":{"$ref":"file:///etc/passwd"}}}`:                           "must not refer to a schema",
		`{"properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}}}`:                   "must not refer to a schema",
		`{"properties":{"a":{"$dynamicRef":"#"}}}`:                                     "must not refer to a schema",
		`{"properties":{"a":{"multipleOf":1e-9999999}}}`:                               "too many digits", // the validator cannot handle them
		`{"properties":{"a":{"enum":[[1e9999999]]}}}`:                                  "too many digits",
		`{"properties":{"a":{"pattern":"(a?){1000}"},"b":{"pattern":"(b?){1000}"}}}`:   "patterns are too large",
		`{"properties":{"a":{"propertyNames":{"pattern":"((((a|b|c)?){9}){9}){9}"}}}}`: "patterns are too large",
	} {
		if s, err := ParseSchema(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %q", text, s, err, want)
		}
	}
}

// Any schema and any options are refused, or become JSON that the schema accepts
// again.
func FuzzSchema(f *testing.F) {
	f.Add(optionsOfPKCS12, `{"legacy":true}`)
	f.Add(`{"properties":{"a":{"$ref":"#/properties/a"}}}`, `{"a":1}`)
	f.Add(`{"additionalProperties":{"type":"number"}}`, `{"a":1e400}`)
	f.Fuzz(func(t *testing.T, declared, sent string) {
		s, err := ParseSchema(declared)
		var options map[string]any
		if err != nil || json.Unmarshal([]byte(sent), &options) != nil {
			return
		}
		canonical, err := s.Validate(options)
		if err != nil {
			if !errors.Is(err, engine.CodeInvalidOptions) {
				t.Errorf("got %v", err)
			}
			return
		}
		if err := json.Unmarshal([]byte(canonical), &options); err != nil {
			t.Fatal(err)
		}
		if again, err := s.Validate(options); err != nil || again != canonical {
			t.Errorf("%s became %s, %v", canonical, again, err)
		}
	})
}

const optionsOfPKCS12 = `{"type":"object","properties":{"legacy":{"type":"boolean"}},"additionalProperties":false}`

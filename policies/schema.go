package policies

import (
	_ "embed" // the schema and the samples
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Schema is the JSON Schema (draft 7) of the rules' input.
//
//go:embed input.schema.json
var Schema string

//go:embed samples.json
var samplesText string

var inputSchema = sync.OnceValue(func() any { return embedded[any](Schema) })

// samples are inputs on which every revision must decide. Tests of a team's rules
// find them at data.samples.
var samples = sync.OnceValue(func() map[string]ast.Value {
	values := map[string]ast.Value{}
	for name, text := range embedded[map[string]json.RawMessage](samplesText) {
		value, err := ast.ValueFromReader(strings.NewReader(string(text)))
		if err != nil {
			panic(fmt.Sprintf("parse the embedded sample %s: %v", name, err))
		}
		values[name] = value
	}
	return values
})

// embedded reads JSON that is part of the program.
func embedded[T any](text string) T {
	var value T
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		panic(fmt.Sprintf("parse embedded JSON: %v", err))
	}
	return value
}

package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/countersign-dev/countersign/engine"
)

const schemaDraft = "https://json-schema.org/draft/2020-12/schema"

// schema is what a format's options must look like: a flat object, so that the
// options of included formats can be merged into it.
type schema struct {
	properties map[string]any
	required   []string
	additional any // false unless the schema says otherwise
	compiled   *jsonschema.Schema
	document   json.RawMessage
}

// parseSchema reads what a plugin declared; "" is a format without options.
func parseSchema(text string) (*schema, error) {
	s := &schema{properties: map[string]any{}, additional: false}
	if text == "" {
		return s, s.compile()
	}
	parsed, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("its options schema is not JSON: %w", err)
	}
	document, ok := parsed.(map[string]any)
	if !ok {
		return nil, errors.New("its options schema is not an object")
	}
	if err := bounded(document); err != nil {
		return nil, fmt.Errorf("its options schema: %w", err)
	}
	for keyword, value := range document {
		if err := s.take(keyword, value); err != nil {
			return nil, fmt.Errorf("its options schema: %w", err)
		}
	}
	return s, s.compile()
}

// references are the keywords by which a schema leads to another, or to itself.
var references = []string{"$ref", "$dynamicRef", "$recursiveRef"}

// plainNumber is one that the validator works out exactly in no time. It fails
// on much larger ones.
var plainNumber = regexp.MustCompile(`^-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?$`)

// bounded refuses what would make a schema cost more than its length says: the
// validator runs in this process, and on what a plugin declares. References can
// double the work at each step.
func bounded(value any) error {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if slices.Contains(references, name) {
				return fmt.Errorf("it must not refer to a schema (%s)", name)
			}
			if err := bounded(member); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := bounded(item); err != nil {
				return err
			}
		}
	case json.Number:
		if !plainNumber.MatchString(v.String()) {
			return errors.New("it has a number of too many digits")
		}
	}
	return nil
}

// maxPatterns is how large the patterns of a schema may be all together, in
// instructions of what they are compiled to: as many steps may go into each byte
// of an option. A few letters can make millions.
const maxPatterns = 2000

// boundedPatterns compiles the patterns of one schema.
func boundedPatterns() jsonschema.RegexpEngine {
	left := maxPatterns
	return func(pattern string) (jsonschema.Regexp, error) {
		parsed, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			return nil, err
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			return nil, err
		}
		if left -= len(program.Inst); left < 0 {
			return nil, errors.New("its patterns are too large")
		}
		return regexp.Compile(pattern)
	}
}

func (s *schema) take(keyword string, value any) error {
	ok := true
	switch keyword {
	case "$schema":
		ok = value == schemaDraft
	case "title", "description":
	case "type":
		ok = value == "object"
	case "properties":
		s.properties, ok = value.(map[string]any)
	case "additionalProperties":
		s.additional = value
	case "required":
		var list []any
		list, ok = value.([]any)
		for _, item := range list {
			name, isName := item.(string)
			ok = ok && isName
			s.required = append(s.required, name)
		}
	default:
		return fmt.Errorf("%q cannot stand at its top", keyword)
	}
	if !ok {
		return fmt.Errorf("%q has a value that cannot be used here", keyword)
	}
	return nil
}

// include takes the options of an included format in.
func (s *schema) include(other *schema) error {
	for name, property := range other.properties {
		if mine, taken := s.properties[name]; taken && !reflect.DeepEqual(mine, property) {
			return fmt.Errorf("the option %q means different things in the formats it includes", name)
		}
		s.properties[name] = property
	}
	for _, name := range other.required {
		if !slices.Contains(s.required, name) {
			s.required = append(s.required, name)
		}
	}
	if s.additional == false {
		s.additional = other.additional
	}
	return nil
}

func (s *schema) compile() error {
	whole := map[string]any{
		"$schema": schemaDraft, "type": "object",
		"properties": s.properties, "additionalProperties": s.additional,
	}
	if len(s.required) > 0 {
		required := []any{}
		for _, name := range s.required {
			required = append(required, name)
		}
		whole["required"] = required
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.UseLoader(noLoader{})
	compiler.UseRegexpEngine(boundedPatterns())
	const here = "urn:countersign:options"
	if err := compiler.AddResource(here, whole); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	var err error
	if s.compiled, err = compiler.Compile(here); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	if s.document, err = json.Marshal(whole); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	return nil
}

// noLoader refuses to fetch what a schema names as its own schema, files included.
type noLoader struct{}

var _ jsonschema.URLLoader = noLoader{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema must not refer to another document")
}

// maxOptions is how long a caller's options may be, in bytes of JSON.
const maxOptions = 8 << 10

// check returns the options' canonical JSON.
func (s *schema) check(options map[string]any) (string, error) {
	if options == nil {
		options = map[string]any{}
	}
	text, err := json.Marshal(options)
	if err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options are not JSON").Because(err)
	}
	if len(text) > maxOptions {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options have %d bytes as JSON; at most %d are allowed", len(text), maxOptions)
	}
	// Numbers keep their text, and every Go type becomes one that JSON has.
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options are not JSON").Because(err)
	}
	if err := s.compiled.Validate(value); err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "%s", s.explain(err))
	}
	return string(text), nil
}

const maxExplanation = 300 // bytes

// explain says what is wrong with the options, one clause for each fault.
func (s *schema) explain(err error) string {
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return "the options are not valid"
	}
	printer := message.NewPrinter(language.English)
	var faults []string
	var walk func(*jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) == 0 {
			place := strings.Join(append([]string{"options"}, e.InstanceLocation...), ".")
			faults = append(faults, place+": "+e.ErrorKind.LocalizedString(printer))
		}
		for _, cause := range e.Causes {
			walk(cause)
		}
	}
	walk(invalid)
	slices.Sort(faults)
	known := "there are none"
	if len(s.properties) > 0 {
		known = strings.Join(slices.Sorted(maps.Keys(s.properties)), ", ")
	}
	return printable(strings.Join(faults, "; "), maxExplanation) + " (options of this format: " + known + ")"
}

// project keeps the options that this schema knows, as JSON.
func (s *schema) project(options map[string]any) (string, error) {
	known := map[string]any{}
	for name, value := range options {
		if _, ok := s.properties[name]; ok || s.additional != false {
			known[name] = value
		}
	}
	text, err := json.Marshal(known)
	return string(text), err
}

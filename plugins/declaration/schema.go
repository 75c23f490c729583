package declaration

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

// Schema describes the options of a format. It is a flat object, so that the
// options of included formats can be merged into it.
type Schema struct {
	// Document is the schema as JSON.
	Document json.RawMessage

	properties map[string]any
	required   []string
	additional any // false unless the schema says otherwise
	compiled   *jsonschema.Schema
}

// ParseSchema reads what a plugin declared. An empty text means that the format
// has no options.
func ParseSchema(text string) (*Schema, error) {
	s := &Schema{properties: map[string]any{}, additional: false}
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
	if err := checkCost(document); err != nil {
		return nil, fmt.Errorf("its options schema: %w", err)
	}
	for keyword, value := range document {
		if err := s.setKeyword(keyword, value); err != nil {
			return nil, fmt.Errorf("its options schema: %w", err)
		}
	}
	return s, s.compile()
}

// references are the keywords with which a schema refers to another, or to itself.
var references = []string{"$ref", "$dynamicRef", "$recursiveRef"}

// plainNumber matches numbers that the validator handles exactly and fast. It
// fails on much larger ones.
var plainNumber = regexp.MustCompile(`^-?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?$`)

// checkCost refuses what makes a schema cost more than its length suggests: the
// validator runs in the host's process, on what a plugin declared. References
// can double the work at each step.
func checkCost(value any) error {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if slices.Contains(references, name) {
				return fmt.Errorf("it must not refer to a schema (%s)", name)
			}
			if err := checkCost(member); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := checkCost(item); err != nil {
				return err
			}
		}
	case json.Number:
		if !plainNumber.MatchString(v.String()) {
			return errors.New("it has a number with too many digits")
		}
	}
	return nil
}

// maxPatterns is the largest total size of the patterns of a schema, in
// instructions of the compiled programs: matching may take that many steps for
// each byte of an option. A few letters can compile to millions.
const maxPatterns = 2000

// patternCompiler compiles the patterns of one schema, up to maxPatterns.
func patternCompiler() jsonschema.RegexpEngine {
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

func (s *Schema) setKeyword(keyword string, value any) error {
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
		return fmt.Errorf("%q is not allowed at its top level", keyword)
	}
	if !ok {
		return fmt.Errorf("%q has a value that is not allowed here", keyword)
	}
	return nil
}

// Merge returns a schema that also has the options of included formats.
func (s *Schema) Merge(included []*Schema) (*Schema, error) {
	if len(included) == 0 {
		return s, nil
	}
	merged := &Schema{properties: maps.Clone(s.properties), required: slices.Clone(s.required), additional: s.additional}
	for _, other := range included {
		for name, property := range other.properties {
			if mine, ok := merged.properties[name]; ok && !reflect.DeepEqual(mine, property) {
				return nil, fmt.Errorf("the option %q means different things in the formats it includes", name)
			}
			merged.properties[name] = property
		}
		for _, name := range other.required {
			if !slices.Contains(merged.required, name) {
				merged.required = append(merged.required, name)
			}
		}
		if merged.additional == false {
			merged.additional = other.additional
		}
	}
	return merged, merged.compile()
}

// withoutRequired returns a schema that requires no option.
func (s *Schema) withoutRequired() (*Schema, error) {
	if len(s.required) == 0 {
		return s, nil
	}
	loose := &Schema{properties: s.properties, additional: s.additional}
	return loose, loose.compile()
}

func (s *Schema) compile() error {
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
	compiler.UseRegexpEngine(patternCompiler())
	const name = "urn:countersign:options"
	if err := compiler.AddResource(name, whole); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	var err error
	if s.compiled, err = compiler.Compile(name); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	if s.Document, err = json.Marshal(whole); err != nil {
		return fmt.Errorf("its options schema: %w", err)
	}
	return nil
}

// noLoader refuses to load the document that a schema names in $schema, which may
// be a local file.
type noLoader struct{}

var _ jsonschema.URLLoader = noLoader{}

// Load implements jsonschema.URLLoader.
func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema must not refer to another document")
}

// maxOptions is the longest that a caller's options may be, in bytes of JSON.
const maxOptions = 8 << 10

// Validate returns the canonical JSON of the options. It returns an error with
// engine.CodeInvalidOptions if the schema does not accept them.
func (s *Schema) Validate(options map[string]any) (string, error) {
	if options == nil {
		options = map[string]any{}
	}
	text, err := json.Marshal(options)
	if err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options cannot be written as JSON").Because(err)
	}
	if len(text) > maxOptions {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options have %d bytes as JSON; at most %d are allowed", len(text), maxOptions)
	}
	// Decoding again keeps the text of numbers and leaves only the types of JSON.
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "the options cannot be written as JSON").Because(err)
	}
	if err := s.compiled.Validate(value); err != nil {
		return "", engine.Errorf(engine.CodeInvalidOptions, "%s", s.explain(err))
	}
	return string(text), nil
}

const maxExplanation = 300 // bytes

// explain describes each fault of the options in one clause.
func (s *Schema) explain(err error) string {
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
	return Printable(strings.Join(faults, "; "), maxExplanation) + " (options of this format: " + known + ")"
}

// Select returns those of the options that belong to this schema, as JSON.
func (s *Schema) Select(options map[string]any) (string, error) {
	known := map[string]any{}
	for name, value := range options {
		if _, ok := s.properties[name]; ok || s.additional != false {
			known[name] = value
		}
	}
	text, err := json.Marshal(known)
	return string(text), err
}

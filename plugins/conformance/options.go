package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// optionSchema is the part of a format's schema from which the suite chooses options.
type optionSchema struct {
	Properties map[string]struct {
		Type     string            `json:"type"`
		Default  json.RawMessage   `json:"default"`
		Const    json.RawMessage   `json:"const"`
		Enum     []json.RawMessage `json:"enum"`
		Examples []json.RawMessage `json:"examples"`
	} `json:"properties"`
	Required []string `json:"required"`
}

func readOptions(f *pluginv1.Format) (o optionSchema, err error) {
	if text := f.GetOptionsSchema(); text != "" {
		if err = json.Unmarshal([]byte(text), &o); err != nil {
			err = fmt.Errorf("its options schema cannot be read: %w", err)
		}
	}
	return o, err
}

// choices returns the values of an option that the schema names. The suite does not
// make up others.
func (o optionSchema) choices(name string) []json.RawMessage {
	p := o.Properties[name]
	values := append(slices.Clone(p.Enum), p.Examples...)
	for _, value := range []json.RawMessage{p.Default, p.Const} {
		if value != nil {
			values = append(values, value)
		}
	}
	if p.Type == "boolean" {
		values = []json.RawMessage{json.RawMessage("false"), json.RawMessage("true")}
	}
	return values
}

// required returns a value for each required option.
func (o optionSchema) required() (map[string]json.RawMessage, error) {
	chosen := map[string]json.RawMessage{}
	for _, name := range o.Required {
		values := o.choices(name)
		if len(values) == 0 {
			return nil, fmt.Errorf("the option %s is required, and its schema has no default or example; add one", name)
		}
		chosen[name] = values[len(values)-1]
	}
	return chosen, nil
}

// optionsFor returns the required options of the format, and those of the given
// options that belong to it. A host gives included formats no others either.
func optionsFor(f *pluginv1.Format, given []byte) ([]byte, error) {
	o, err := readOptions(f)
	if err != nil {
		return nil, err
	}
	chosen, err := o.required()
	if err != nil {
		return nil, err
	}
	var own map[string]json.RawMessage
	_ = json.Unmarshal(given, &own) // a value that is not an object has no options
	for name, value := range own {
		if _, ok := o.Properties[name]; ok {
			chosen[name] = value
		}
	}
	return json.Marshal(chosen)
}

// optionVariants returns the required options with each choice of each option, and
// with the options of each target.
func optionVariants(f *pluginv1.Format) (variants [][]byte, err error) {
	o, err := readOptions(f)
	if err != nil {
		return nil, err
	}
	var choices [][]byte
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		for _, value := range o.choices(name) {
			quoted, err := json.Marshal(name)
			if err != nil {
				return nil, err
			}
			choices = append(choices, fmt.Appendf(nil, "{%s:%s}", quoted, value))
		}
	}
	for _, target := range f.GetTargets() {
		choices = append(choices, []byte(target.GetOptions()))
	}
	for _, choice := range choices {
		variant, err := optionsFor(f, choice)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(variants, func(v []byte) bool { return bytes.Equal(v, variant) }) {
			variants = append(variants, variant)
		}
	}
	return variants, nil
}

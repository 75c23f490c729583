package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// optionSchema is what the suite reads of a format's schema to choose options.
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

// choices are values of an option that the schema names. One that it does not
// name the suite does not make up.
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

// requiredOptions are the fewest that the format takes.
func requiredOptions(f *pluginv1.Format) ([]byte, error) {
	o, err := readOptions(f)
	if err != nil {
		return nil, err
	}
	least := map[string]json.RawMessage{}
	for _, name := range o.Required {
		values := o.choices(name)
		if len(values) == 0 {
			return nil, fmt.Errorf("the option %s is required, and its schema has no default or example to try", name)
		}
		least[name] = values[len(values)-1]
	}
	return json.Marshal(least)
}

// optionVariants are the fewest options with each choice of each option.
func optionVariants(f *pluginv1.Format) (variants [][]byte, err error) {
	o, err := readOptions(f)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.Properties)) {
		for _, value := range o.choices(name) {
			least, err := requiredOptions(f)
			if err != nil {
				return nil, err
			}
			chosen := map[string]json.RawMessage{}
			if err := json.Unmarshal(least, &chosen); err != nil {
				return nil, err
			}
			chosen[name] = value
			variant, err := json.Marshal(chosen)
			if err != nil {
				return nil, err
			}
			variants = append(variants, variant)
		}
	}
	return variants, nil
}

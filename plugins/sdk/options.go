package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"

	"github.com/swaggest/jsonschema-go"
)

// OptionsSchema is the Format.OptionsSchema that the struct T declares. Each
// field is an option: its json tag is the name, and further tags are what callers
// are shown and held to, by the keywords of JSON Schema:
//
//	type options struct {
//		Days  int    `json:"days" default:"30" minimum:"1" title:"Days" description:"How long it is valid."`
//		Style string `json:"style" enum:"short,long" required:"true"`
//	}
//
// Others are pattern, minLength, maxLength and maximum. It panics where T cannot
// be declared, such as by a default that is not of its field's type.
func OptionsSchema[T any]() json.RawMessage {
	d, err := declare[T]()
	if err == nil {
		_, err = Options[T](Job{}) // whether the defaults fit
	}
	if err != nil {
		panic(fmt.Sprintf("sdk: %T cannot be declared: %v", *new(T), err))
	}
	return d.schema
}

// Options reads the job's options. One that was left out has its default, and
// one that T does not declare is an error. That the values are such as the tags
// allow, the host has checked.
func Options[T any](job Job) (options T, err error) {
	d, err := declare[T]()
	if err != nil {
		return options, err
	}
	whole, err := d.fill(job.Options)
	if err == nil {
		err = json.Unmarshal(whole, &options)
	}
	if err != nil {
		return options, fmt.Errorf("read options: %w", err)
	}
	return options, nil
}

// declaration is what a struct's tags say.
type declaration struct {
	schema   json.RawMessage
	names    map[string]bool
	defaults map[string]json.RawMessage // of the options that have one
}

// fill adds the defaults of what was not given.
func (d *declaration) fill(options json.RawMessage) ([]byte, error) {
	given := map[string]json.RawMessage{}
	if len(options) > 0 {
		if err := json.Unmarshal(options, &given); err != nil {
			return nil, err
		}
	}
	if given == nil {
		return nil, errors.New("null is not an object")
	}
	for name := range given {
		if !d.names[name] {
			return nil, fmt.Errorf("there is no option %q", name)
		}
	}
	filled := maps.Clone(d.defaults)
	maps.Copy(filled, given)
	return json.Marshal(filled)
}

// maxInteger is the largest that every program reads alike from JSON (RFC 7493,
// section 2.2).
const maxInteger = 1<<53 - 1

// bound keeps callers from integers that no field holds.
func bound(property *jsonschema.Schema) {
	if !property.HasType(jsonschema.Integer) {
		return
	}
	if property.Maximum == nil {
		property.WithMaximum(maxInteger)
	}
	if property.Minimum == nil {
		property.WithMinimum(-maxInteger)
	}
}

// declarations are kept by type: working one out costs more than some renders.
var declarations sync.Map

func declare[T any]() (*declaration, error) {
	of := reflect.TypeFor[T]()
	if known, ok := declarations.Load(of); ok {
		return known.(*declaration), nil // nothing else is kept there
	}
	if of.Kind() != reflect.Struct {
		return nil, fmt.Errorf("declare options: %s is no struct", of)
	}
	var reflector jsonschema.Reflector
	schema, err := reflector.Reflect(*new(T), jsonschema.InlineRefs)
	if err != nil {
		return nil, fmt.Errorf("declare options: %w", err)
	}
	d := &declaration{names: map[string]bool{}, defaults: map[string]json.RawMessage{}}
	for name, property := range schema.Properties {
		d.names[name] = true
		bound(property.TypeObject)
		if value := property.TypeObject.Default; value != nil {
			if d.defaults[name], err = json.Marshal(value); err != nil {
				return nil, fmt.Errorf("declare options: %w", err)
			}
		}
	}
	if d.schema, err = json.Marshal(schema); err != nil {
		return nil, fmt.Errorf("declare options: %w", err)
	}
	declarations.Store(of, d)
	return d, nil
}

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

// OptionsSchema returns the Format.OptionsSchema that the struct T declares. Each
// field is an option. Its json tag is the option's name; other tags are keywords of
// JSON Schema:
//
//	type options struct {
//		Days  int    `json:"days" default:"30" minimum:"1" title:"Days" description:"How long it is valid."`
//		Style string `json:"style" enum:"short,long" required:"true"`
//	}
//
// Further keywords are pattern, minLength, maxLength and maximum. OptionsSchema
// panics if T is not a valid declaration, for example if a default does not have the
// type of its field.
func OptionsSchema[T any]() json.RawMessage {
	d, err := declare[T]()
	if err == nil {
		_, err = Options[T](Job{}) // fails if a default does not fit its field
	}
	if err != nil {
		panic(fmt.Sprintf("sdk: %T is not a valid declaration of options: %v", *new(T), err))
	}
	return d.schema
}

// Options reads the job's options. A missing option gets its default. An option that
// T does not declare is an error. The host has already checked the values against
// the schema.
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

// declaration has what the tags of a struct declare.
type declaration struct {
	schema   json.RawMessage
	names    map[string]bool
	defaults map[string]json.RawMessage // only of options that have a default
}

// fill adds the defaults of missing options.
func (d *declaration) fill(options json.RawMessage) ([]byte, error) {
	given := map[string]json.RawMessage{}
	if len(options) > 0 {
		if err := json.Unmarshal(options, &given); err != nil {
			return nil, err
		}
	}
	if given == nil {
		return nil, errors.New("the options are null; give an object")
	}
	for name := range given {
		if !d.names[name] {
			return nil, fmt.Errorf("option %q is unknown", name)
		}
	}
	filled := maps.Clone(d.defaults)
	maps.Copy(filled, given)
	return json.Marshal(filled)
}

// maxInteger is the largest integer that every JSON parser reads exactly (RFC 7493,
// section 2.2).
const maxInteger = 1<<53 - 1

// bound limits integers, so that no caller gives one that a field cannot store.
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

// declarations caches the declaration of each type, because deriving one can take
// longer than a render.
var declarations sync.Map

func declare[T any]() (*declaration, error) {
	of := reflect.TypeFor[T]()
	if known, ok := declarations.Load(of); ok {
		return known.(*declaration), nil // the map has no other type
	}
	if of.Kind() != reflect.Struct {
		return nil, fmt.Errorf("declare options: %s is not a struct", of)
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

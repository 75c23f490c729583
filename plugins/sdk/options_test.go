package sdk_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

type labels struct {
	Style string `json:"style" enum:"short,long" default:"short" title:"Style" description:"How much it says."`
	Count int    `json:"count" minimum:"1" maximum:"9" default:"3"`
	Loud  bool   `json:"loud" default:"true"`
	Name  string `json:"name" pattern:"^[a-z]+$" minLength:"1" maxLength:"20"`
}

func TestOptions(t *testing.T) {
	for text, want := range map[string]labels{
		``:                 {"short", 3, true, ""},
		`{}`:               {"short", 3, true, ""},
		`{"loud":false}`:   {"short", 3, false, ""},
		`{"style":"long"}`: {"long", 3, true, ""},
		`{"style":"","count":0,"loud":true,"name":"x"}`: {"", 0, true, "x"},
	} {
		if got, err := sdk.Options[labels](sdk.Job{Options: []byte(text)}); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		`[]`: "array", `null`: "give an object", `{`: "JSON", `{} {}`: "after top-level value", `{"loud":"yes"}`: "loud",
		`{"volume":1}`: `option "volume" is unknown`, `{"Loud":true}`: `option "Loud" is unknown`,
	} {
		if got, err := sdk.Options[labels](sdk.Job{Options: []byte(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v; want %q", text, got, err, want)
		}
	}
}

func TestOptionsSchema(t *testing.T) {
	var got, want any
	const schema = `{"type":"object","properties":{
		"style":{"type":"string","enum":["short","long"],"default":"short","title":"Style","description":"How much it says."},
		"count":{"type":"integer","minimum":1,"maximum":9,"default":3},
		"loud":{"type":"boolean","default":true},
		"name":{"type":"string","pattern":"^[a-z]+$","minLength":1,"maxLength":20}}}`
	for text, into := range map[string]*any{string(sdk.OptionsSchema[labels]()): &got, schema: &want} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestInvalidDeclarationPanics(t *testing.T) {
	for name, declare := range map[string]func() json.RawMessage{
		"a default of another type": sdk.OptionsSchema[struct {
			A bool `json:"a" default:"maybe"`
		}],
		"a default out of range": sdk.OptionsSchema[struct {
			A int8 `json:"a" default:"1000"`
		}],
		"not a struct": sdk.OptionsSchema[string],
		"nothing":      sdk.OptionsSchema[any],
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the declaration was accepted")
				}
			}()
			t.Logf("got %s", declare())
		})
	}
}

// The schema refuses numbers that a field cannot store.
func TestIntegersAreBounded(t *testing.T) {
	type sizes struct {
		Any  int64 `json:"any"`
		Most int   `json:"most" maximum:"10"`
	}
	var schema struct {
		Properties map[string]struct{ Minimum, Maximum int64 }
	}
	if err := json.Unmarshal(sdk.OptionsSchema[sizes](), &schema); err != nil {
		t.Fatal(err)
	}
	const limit = 1<<53 - 1
	if p := schema.Properties; p["any"].Minimum != -limit || p["any"].Maximum != limit || p["most"].Minimum != -limit || p["most"].Maximum != 10 {
		t.Errorf("got %+v", p)
	}
}

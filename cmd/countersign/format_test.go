package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/api/wire"
)

func TestOptionValues(t *testing.T) {
	schema := optionsOf(wire.Format{OptionsSchema: json.RawMessage(`{"additionalProperties":false,"properties":{
		"flag":{"type":"boolean"},"count":{"type":"integer"},"share":{"type":"number"},"name":{"type":"string"},"any":{"enum":["a",1]},"all":true}}`)})
	for given, want := range map[string]any{
		"flag=true": true, "flag=false": false, "count=12": int64(12), "share=0.5": json.Number("0.5"), "name=12": "12", "name=a=b": "a=b", "name=": "",
		"any=a": "a", "any=1": 1.0, "all=[1]": []any{1.0},
	} {
		if _, got, err := schema.value(given); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %#v, %v", given, got, err)
		}
	}
	for given, want := range map[string]string{
		"flag": "NAME=VALUE", "other=1": "of: all, any, count, flag, name, share", "=1": "of: all", "flag=maybe": "not of type boolean",
		"count=1.5": "not of type integer", "share=NaN": "not of type number", "count=": "not of type integer",
	} {
		_, got, err := schema.value(given)
		if _, usage := errors.AsType[usageError](err); !usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %#v, %v; want %q", given, got, err, want)
		}
	}
	none := optionsOf(wire.Format{OptionsSchema: json.RawMessage(`{"additionalProperties":false}`)})
	if _, _, err := none.value("a=b"); err == nil || !strings.Contains(err.Error(), "of: none") {
		t.Errorf("got %v", err)
	}
}

func TestFindTarget(t *testing.T) {
	formats := []wire.Format{
		{ID: "one", Targets: []wire.FormatTarget{{ID: "a"}, {ID: "both"}}},
		{ID: "two", Targets: []wire.FormatTarget{{ID: "b"}, {ID: "both"}}},
	}
	if f, target, err := findTarget(formats, "b"); err != nil || f.ID != "two" || target.ID != "b" {
		t.Errorf("got %s %s, %v", f.ID, target.ID, err)
	}
	for id, want := range map[string]string{"both": "choose with --format: one, two", "c": "the targets are: a, b, both"} {
		if _, _, err := findTarget(formats, id); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", id, err, want)
		}
	}
}

func TestImportCommandIsOneCommand(t *testing.T) {
	const command = "import {file} as {alias}"
	for _, c := range []struct{ file, alias, want string }{
		{"out/www.p12", "www.example.com", "import out/www.p12 as www.example.com"},
		{"my file.p12", "", "import 'my file.p12' as {alias}"},
		{"$(reboot);&.p12", "a;reboot", "import '$(reboot);&.p12' as {alias}"},
		{"it's.p12", "*.example.com", "import {file} as {alias}"},
		{"it\u2019s.p12", "a b", "import {file} as {alias}"},
		{"a\nb", "-rf", "import {file} as {alias}"},
		{"-o", "$a", "import {file} as {alias}"},
		{"{alias}", "a", "import '{alias}' as a"},
	} {
		if got := importCommand(command, c.file, c.alias); got != c.want {
			t.Errorf("%q, %q: got %s, want %s", c.file, c.alias, got, c.want)
		}
	}
}

package declaration

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

func TestInvalidTargetsAreRefused(t *testing.T) {
	good := &pluginv1.Target{Id: "windows-2.0_x", Title: "Windows (2)", ImportCommand: "import {file} as {alias} ; { echo; }"}
	if err := checkTargets([]*pluginv1.Target{good}); err != nil {
		t.Fatal(err)
	}
	for want, targets := range map[string][]*pluginv1.Target{
		"id that does not match":  {{Id: "A", Title: "A", ImportCommand: "a"}},
		"whose title is not":      {{Id: "a", Title: "A\x1b[1m", ImportCommand: "a"}},
		"title is not one line":   {{Id: "a", ImportCommand: "a"}},
		"command is not one line": {{Id: "a", Title: "A", ImportCommand: "a\nb"}},
		"at most 500 bytes":       {{Id: "a", Title: "A", ImportCommand: strings.Repeat("a", 501)}},
		"options have more than":  {{Id: "a", Title: "A", ImportCommand: "a", Options: `{"a":"` + strings.Repeat("x", 512) + `"}`}},
		"neither {file} nor":      {{Id: "a", Title: "A", ImportCommand: "a {passphrase}"}},
		"more than 32 targets":    slices.Repeat([]*pluginv1.Target{good}, 33),
	} {
		if err := checkTargets(targets); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

package main

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/countersign-dev/countersign/"

// rooms says which of our packages each may import, by path prefix; the longest
// prefix that fits a package is its room. "std" allows the standard library and
// ours only.
var rooms = map[string][]string{
	"engine":                 {"engine/failpoint", "std"},
	"engine/failpoint":       {"std"},
	"engine/store/sqlite":    {"engine"},
	"engine/store/mongo":     {"engine"},
	"engine/store/storetest": {"engine"},
	"engine/modeltest":       {"engine"},
	"engine/keys":            {"engine"},
	"engine/certimport":      {"engine"},
	"engine/passwords":       {"engine"},
	"engine/notify":          {"engine"},
	"workflows":              {"engine"},
	"workflows/embedded":     {},
	"policies":               {"engine"},
	"plugins":                {"plugins/sdk"},
	"plugins/sdk":            {"plugins/sdk/..."},
	"plugins/formats":        {"plugins/sdk/..."},
	"plugins/sandbox":        {},
	"plugins/host":           {"engine", "plugins/sandbox", "plugins/sdk/..."},
	"plugins/conformance":    {"engine", "plugins/host", "plugins/sdk/..."},
	"api":                    {"engine", "api/..."},
	"api/client":             {"api/wire"},
	"api/wire":               {"std"},
	"cmd":                    {"..."},
}

func TestImportsPointInward(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module)
		room := roomOf(pkg)
		seen[room] = true
		allowed, known := rooms[room]
		if !known {
			t.Errorf("%s belongs to no room", pkg)
		}
		for _, imported := range fields[1:] {
			if !mayImport(pkg, imported, allowed) {
				t.Errorf("%s must not import %s: its room, %q, may import %q", pkg, imported, room, allowed)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("room %q is empty", room)
		}
	}
}

func roomOf(pkg string) string {
	for room := pkg; ; room = room[:strings.LastIndex(room, "/")] {
		if _, ok := rooms[room]; ok || !strings.Contains(room, "/") {
			return room
		}
	}
}

func mayImport(pkg, imported string, allowed []string) bool {
	ours, isOurs := strings.CutPrefix(imported, module)
	for _, a := range allowed {
		prefix, tree := strings.CutSuffix(a, "...")
		if isOurs && (ours == a || tree && strings.HasPrefix(ours+"/", prefix)) {
			return true
		}
	}
	if isOurs {
		// A package's own subfolders belong to it.
		return strings.HasPrefix(ours, pkg+"/") && roomOf(ours) == roomOf(pkg)
	}
	onlyStandard := len(allowed) > 0 && allowed[len(allowed)-1] == "std"
	return !onlyStandard || !strings.Contains(strings.Split(imported, "/")[0], ".")
}

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

const module = "github.com/countersign-dev/countersign/"

// rooms says which of our packages each may import, by path prefix; the longest
// prefix that fits a package is its room. "std" allows the standard library and
// ours only.
var rooms = map[string][]string{
	"engine":                 {"engine/failpoint", "engine/certparse", "std"},
	"engine/failpoint":       {"std"},
	"engine/ber":             {"std"},
	"engine/certparse":       {"engine/ber", "std"},
	"engine/tracing":         {"engine"},
	"engine/store/sqlite":    {"engine", "engine/tracing"},
	"engine/store/mongo":     {"engine", "engine/failpoint", "engine/tracing"},
	"engine/store/storetest": {"engine"},
	"engine/modeltest":       {"engine"},
	"engine/anchor":          {"engine"},
	"engine/forward":         {"engine"},
	"engine/backup":          {},
	"engine/keys":            {"engine", "engine/tracing"},
	"engine/certimport":      {"engine", "engine/ber", "engine/certparse"},
	"engine/passwords":       {"engine"},
	"engine/notify":          {"engine"},
	"workflows":              {"engine", "engine/tracing"},
	"workflows/embedded":     {},
	"policies":               {"engine"},
	"plugins":                {"plugins/sdk", "engine/ber", "engine/certparse"},
	"plugins/sdk":            {"plugins/sdk/...", "engine/certparse"},
	"plugins/formats":        {"plugins/sdk/..."},
	"plugins/sandbox":        {},
	"plugins/declaration":    {"engine", "plugins/sdk/..."},
	"plugins/catalogue":      {"engine", "plugins/declaration", "plugins/sandbox", "plugins/sdk/..."},
	"plugins/runtime":        {"engine", "plugins/catalogue", "plugins/declaration", "plugins/sandbox", "plugins/sdk/..."},
	"plugins/host":           {"engine", "engine/tracing", "plugins/runtime", "plugins/catalogue", "plugins/declaration", "plugins/sandbox", "plugins/sdk/..."},
	"plugins/conformance":    {"engine", "engine/certparse", "plugins/runtime", "plugins/catalogue", "plugins/declaration", "plugins/sandbox", "plugins/sdk/..."},
	"plugins/plugintest":     {"std"},
	"api":                    {"engine", "engine/certparse", "engine/tracing", "api/..."},
	"api/http1":              {},
	"api/stream":             {"api/wire", "engine"},
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

// The API cannot run transitions, which only a request's workflow may do: the API's
// packages name none of the types that they need.
func TestAPICannotReachTransitions(t *testing.T) {
	forbidden := []string{"Transitions", "TransitionStore", "Transition", "TransitionResult", "WorkflowInput", "VoteCommand", "CancelCommand", "ClaimCommand",
		"ExpireCommand", "SettlementCheck", "Retention"}
	files := 0
	err := filepath.WalkDir("../../api", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(forbidden, s.Sel.Name) {
				t.Errorf("%s names %s, which belongs to workflows", path, s.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil || files < 20 {
		t.Fatalf("%d files read: %v", files, err)
	}
	// The values that the API has do not lead to these types either.
	for _, holder := range []reflect.Type{reflect.TypeFor[engine.Downloads](), reflect.TypeFor[engine.Admin](), reflect.TypeFor[engine.Authentication](), reflect.TypeFor[engine.Notifications]()} {
		pointer := reflect.PointerTo(holder)
		for i := range pointer.NumMethod() {
			if m := pointer.Method(i); strings.Contains(m.Type.String(), "engine.Transition") {
				t.Errorf("%s.%s leads to transitions", holder, m.Name)
			}
		}
	}
}

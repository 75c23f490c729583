package plugins

import (
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the go.mod and go.sum of the template")

func TestScaffoldBuildsAndPassesItsTests(t *testing.T) {
	folder, err := Scaffold(t.TempDir(), "my-format")
	if err != nil {
		t.Fatal(err)
	}
	makeAll := exec.Command("make")
	makeAll.Dir = folder
	makeAll.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if printed, err := makeAll.CombinedOutput(); err != nil {
		t.Fatalf("make: %v\n%s", err, printed)
	}
	if _, err := os.Stat(filepath.Join(folder, "bin", "my-format")); err != nil {
		t.Error(err)
	}
	err = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && (strings.Contains(path, placeholder) || strings.HasSuffix(path, ".tmpl") || strings.HasSuffix(path, "_test.go") && filepath.Dir(path) != folder) {
			t.Errorf("the plugin contains %s; it must not", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestScaffoldRefuses(t *testing.T) {
	parent := t.TempDir()
	if err := os.WriteFile(filepath.Join(parent, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "..", "../x", "UPPER", "a/b", "-x", strings.Repeat("x", 33), "taken"} {
		if folder, err := Scaffold(parent, name); err == nil {
			t.Errorf("%q: created %s", name, folder)
		}
	}
	if _, err := Scaffold(filepath.Join(parent, "missing"), "x"); err == nil {
		t.Error("created a plugin in a folder that does not exist")
	}
	if _, err := Scaffold(parent, "twice"); err != nil {
		t.Fatal(err)
	}
	if _, err := Scaffold(parent, "twice"); err == nil {
		t.Error("replaced an existing plugin")
	}
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 2 {
		t.Errorf("the folder contains %v (%v)", left, err)
	}
}

var requirement = regexp.MustCompile(`(?m)^\t(\S+ v\S+)`)

// TestTemplateRequiresTheModulesOfTheSDK fails if the SDK needs other modules or
// versions than the template's go.mod requires. Then run it with -update.
func TestTemplateRequiresTheModulesOfTheSDK(t *testing.T) {
	if *update {
		tidy(t)
	}
	listed, err := os.ReadFile("template/sdk/go.mod.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, found := range requirement.FindAllStringSubmatch(string(listed), -1) {
		got = append(got, found[1])
	}
	slices.Sort(got)
	if want := needed(t); !slices.Equal(got, want) {
		t.Errorf("the template's go.mod requires\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(string(listed), "\n"+goLine(t)+"\n") {
		t.Errorf("the template's go.mod has no line %q", goLine(t))
	}
}

// needed returns the modules that the SDK imports, with their versions.
func needed(t *testing.T) []string {
	t.Helper()
	const format = `{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}`
	list, err := exec.Command("go", "list", "-deps", "-f", format, "./sdk", "./sdk/sdktest").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	modules := strings.Fields(strings.ReplaceAll(string(list), " ", "@"))
	slices.Sort(modules)
	modules = slices.Compact(modules)
	for i := range modules {
		modules[i] = strings.Replace(modules[i], "@", " ", 1)
	}
	return modules
}

// goLine returns the line of go.mod with the version of Go.
func goLine(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`(?m)^go .*$`).FindString(string(text))
}

// tidy writes the template's go.mod and go.sum with go mod tidy.
func tidy(t *testing.T) {
	t.Helper()
	folder, err := Scaffold(t.TempDir(), "x")
	if err != nil {
		t.Fatal(err)
	}
	module := "module " + sdkModule + "\n\n" + goLine(t) + "\n\nrequire (\n\t" + strings.Join(needed(t), "\n\t") + "\n)\n"
	if err := os.WriteFile(filepath.Join(folder, "sdk", "go.mod"), []byte(module), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "mod", "tidy")
	run.Dir = filepath.Join(folder, "sdk")
	if printed, err := run.CombinedOutput(); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, printed)
	}
	for _, file := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(run.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("template/sdk/"+file+".tmpl", content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

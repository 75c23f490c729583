package catalogue

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folder makes a folder with files in place of binaries, and a catalogue of built-in
// entries for those that are listed.
func folder(t *testing.T, listed ...string) (path string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pem", "der", "jks", "other"} {
		noError(t, os.WriteFile(filepath.Join(dir, name), []byte("binary of "+name), 0o700))
	}
	path = filepath.Join(dir, FileName)
	noError(t, writeBuiltIn(t, path, listed...))
	return path
}

// writeBuiltIn writes a catalogue as a build does.
func writeBuiltIn(t *testing.T, path string, listed ...string) error {
	t.Helper()
	var c Catalogue
	for _, name := range listed {
		c.Plugins = append(c.Plugins, Entry{Name: name, Path: name, Formats: []string{name}, Grants: Grants{Key: []string{name}}})
	}
	source := filepath.Join(t.TempDir(), "source.json")
	writeJSON(t, source, c)
	return Write(source, filepath.Dir(path))
}

func writeJSON(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	noError(t, err)
	noError(t, os.WriteFile(path, text, 0o600))
}

func read(t *testing.T, path string) Catalogue {
	t.Helper()
	c, err := Read(path)
	noError(t, err)
	return c
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"":           "EOF",
		`{"plug":1}`: "unknown field",
		`{"plugins":[{"name":"a"},{"name":"a"}]}`:      "listed twice",
		`{"plugins":[{"name":"../a"}]}`:                "is not a valid plugin name",
		`{"plugins":[]} {}`:                            "more text after its end",
		`{"plugins":[{"name":"a","projects":null}]}`:   "projects is null",
		`{"plugins":[{"name":"a","grant":{"key":1}}]}`: "unknown field",
	} {
		path := filepath.Join(t.TempDir(), FileName)
		noError(t, os.WriteFile(path, []byte(content), 0o600))
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestFailedWriteChangesNothing(t *testing.T) {
	path := folder(t, "pem", "der")
	before, err := os.ReadFile(path)
	noError(t, err)
	if err := writeBuiltIn(t, path, "pem", "gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing plugin: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a failed write changed the catalogue (%v)", err)
	}
	source := filepath.Join(t.TempDir(), "source.json")
	writeJSON(t, source, Catalogue{Plugins: []Entry{{Name: "outside", Path: "/bin/true"}}})
	if err := Write(source, filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "leads out") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left %v (%v)", left, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the catalogue's mode: %v (%v)", info.Mode(), err)
	}
}

func TestWriteKeepsWhatOthersAdded(t *testing.T) {
	path := folder(t, "pem", "der")
	added := Entry{Name: "one", Path: "other", SHA256: strings.Repeat("0", 64), Formats: []string{"one"}}
	noError(t, change(path, func(c *Catalogue) error {
		c.Plugins[0].Projects, c.Plugins[0].Limits.Concurrency, c.Plugins[0].Grants = []string{"p"}, 3, Grants{}
		c.Plugins = append(c.Plugins, added)
		return nil
	}))
	noError(t, writeBuiltIn(t, path, "pem", "jks")) // der is no longer built in
	var names []string
	c := read(t, path)
	for _, e := range c.Plugins {
		names = append(names, e.Name)
	}
	if !slices.Equal(names, []string{"pem", "jks", "one"}) {
		t.Errorf("listed: %v", names)
	}
	if e := c.Plugins[0]; !slices.Equal(e.Projects, []string{"p"}) || e.Limits.Concurrency != 3 || len(e.Grants.Key) == 0 {
		t.Errorf("the built-in entry: %+v", e)
	}
	before, err := os.ReadFile(path)
	noError(t, err)
	source := filepath.Join(t.TempDir(), "source.json")
	writeJSON(t, source, Catalogue{[]Entry{{Name: "one", Path: "pem"}}})
	err = Write(source, filepath.Dir(path))
	if after, _ := os.ReadFile(path); err == nil || !strings.Contains(err.Error(), "one that is not built in") || !bytes.Equal(after, before) {
		t.Errorf("a built-in plugin replaced one that an operator added: %v\n%s", err, after)
	}
	noError(t, os.WriteFile(path, []byte("{"), 0o600))
	if err := writeBuiltIn(t, path, "pem"); err == nil {
		t.Error("a catalogue that cannot be read was overwritten")
	}
}

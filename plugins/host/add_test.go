package host

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// trial starts a plugin under a name.
func trial(t *testing.T, binary, name string) *Trial {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(filepath.Join(binaries(t), binary), path); err != nil {
		t.Fatal(err)
	}
	tried, err := Try(t.Context(), path, SandboxBestEffort, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tried.Close(); err != nil {
			t.Error(err)
		}
	})
	return tried
}

func TestAddedPluginIsServed(t *testing.T) {
	h, _ := open(t, Options{}, builtIn(t)[0])
	path, err := trial(t, "der", "der").Add(h.settings.catalogue, Addition{Name: "mine", Key: true, Projects: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Reload("mine"); err != nil {
		t.Fatal(err)
	}
	render(t, h, job(t, ecdsaJob, "der-key"))
	if f, _ := h.Format("der"); !slices.Equal(f.Projects, []string{"p"}) {
		t.Errorf("projects: %v", f.Projects)
	}
	c, err := readCatalogue(h.settings.catalogue)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := c.find("mine"); !slices.Equal(e.Grants.Key, []string{"der-key"}) || len(e.Grants.Passphrase) > 0 || !slices.Equal(e.Formats, []string{"der", "der-key"}) {
		t.Errorf("entry: %+v", e)
	}
	// A new version is for those who had the one before.
	if _, err := trial(t, "der", "der").Add(h.settings.catalogue, Addition{Name: "mine", Key: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.Reload("mine"); err != nil {
		t.Fatal(err)
	}
	if f, _ := h.Format("der"); !slices.Equal(f.Projects, []string{"p"}) {
		t.Errorf("projects of the new version: %v", f.Projects)
	}
	// Another version takes the place of the first, whose binary goes.
	next, err := trial(t, "jks", "jks").Add(h.settings.catalogue, Addition{Name: "mine", Key: true, Passphrase: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Reload("mine"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) || next == path {
		t.Errorf("%s is there still (%v)", path, err)
	}
	if _, ok := h.Format("der"); ok {
		t.Error("the plugin before goes on")
	}
}

func TestAddRefuses(t *testing.T) {
	file := folder(t, builtIn(t)...)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		binary, as string
		addition   Addition
		says       string
	}{
		"key":              {"misbehave", "asks", Addition{Name: "asks", Passphrase: true}, "asks-key asks for the private key"},
		"passphrase":       {"misbehave", "asks", Addition{Name: "asks", Key: true}, "asks-passphrase asks for the passphrase"},
		"a built-in name":  {"misbehave", "asks", Addition{Name: "pem", Key: true, Passphrase: true}, "built in"},
		"no name":          {"misbehave", "asks", Addition{Name: "../x", Key: true, Passphrase: true}, "not a plugin's name"},
		"another's format": {"der", "der", Addition{Name: "mine", Key: true}, "its format der is the plugin der's"},
		"nonsense":         {"misbehave", "path", Addition{Name: "path"}, "file name"},
	} {
		_, err := trial(t, test.binary, test.as).Add(file, test.addition)
		if !errors.Is(err, engine.CodeInvalidRequest) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trial(t, "der", "der").Add(filepath.Join(t.TempDir(), CatalogueName), Addition{Name: "mine", Key: true}); err == nil {
		t.Error("a catalogue was made up")
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the catalogue has changed: %v\n%s", err, after)
	}
}

// A format that includes the file of one that may have the key holds the key.
func TestGrantOfTheKeyIsTransitive(t *testing.T) {
	file := folder(t, builtIn(t)...)
	if _, err := trial(t, "misbehave", "asks").Add(file, Addition{Name: "asks", Key: true, Passphrase: true}); err != nil {
		t.Fatal(err)
	}
	c, err := readCatalogue(file)
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := c.find("asks"); !slices.Equal(e.Grants.Key, []string{"asks-key", "snoops"}) || !slices.Equal(e.Grants.Passphrase, []string{"asks-passphrase"}) {
		t.Errorf("granted: %+v", e.Grants)
	}
}

func TestAddRefusesABinaryThatChanged(t *testing.T) {
	file := folder(t)
	tried := trial(t, "der", "der")
	if err := os.Remove(tried.path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tried.path, []byte("another"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := tried.Add(file, Addition{Name: "mine", Key: true}); err == nil {
		t.Error("it was added")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "mine*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

func TestWritingACatalogueKeepsWhatOthersAdded(t *testing.T) {
	file := folder(t, builtIn(t)[:2]...)
	dir := filepath.Dir(file)
	der, jks := trial(t, "der", "der"), trial(t, "jks", "jks")
	var adding sync.WaitGroup
	adding.Go(func() { _, _ = der.Add(file, Addition{Name: "one", Key: true}) })
	adding.Go(func() { _, _ = jks.Add(file, Addition{Name: "two", Key: true, Passphrase: true}) })
	adding.Wait()
	c, err := readCatalogue(file)
	if err != nil || len(c.Plugins) != 4 {
		t.Fatalf("%d entries, %v", len(c.Plugins), err)
	}
	c.Plugins[0].Projects, c.Plugins[0].Limits.Concurrency, c.Plugins[0].Grants = []string{"p"}, 3, grants{}
	writeJSON(t, file, c)

	rewrite(t, file, builtIn(t)[0], builtIn(t)[2]) // the second is built in no more
	var names []string
	if c, err = readCatalogue(file); err != nil {
		t.Fatal(err)
	}
	for _, e := range c.Plugins {
		names = append(names, e.Name)
	}
	if want := []string{builtIn(t)[0].Name, builtIn(t)[2].Name, "one", "two"}; !slices.Equal(names[:2], want[:2]) || !slices.Contains(names, "one") || !slices.Contains(names, "two") || len(names) != 4 {
		t.Errorf("got %v, want %v", names, want)
	}
	if e := c.Plugins[0]; !slices.Equal(e.Projects, []string{"p"}) || e.Limits.Concurrency != 3 || len(e.Grants.Key) == 0 {
		t.Errorf("the built-in entry: %+v", e)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeJSON(t, filepath.Join(dir, "source.json"), catalogue{[]entry{{Name: "one", Path: builtIn(t)[0].Path}}})
	err = WriteCatalogue(filepath.Join(dir, "source.json"), dir)
	if after, _ := os.ReadFile(file); err == nil || !strings.Contains(err.Error(), "one that is not built in") || string(after) != string(before) {
		t.Errorf("a plugin that somebody added gave way to a built-in one: %v\n%s", err, after)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteCatalogue("../catalogue.json", dir); err == nil {
		t.Error("a catalogue that cannot be read was written over")
	}
}

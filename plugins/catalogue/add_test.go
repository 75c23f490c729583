package catalogue

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// candidate is a plugin whose formats the test chooses.
func candidate(t *testing.T, content string, formats ...*pluginv1.Format) Candidate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	noError(t, os.WriteFile(path, []byte(content), 0o700))
	sum, err := Checksum(path)
	noError(t, err)
	for _, f := range formats {
		if f.MediaType = "application/octet-stream"; f.GetFilename() == "" {
			f.Filename = f.GetId() + ".out"
		}
	}
	return Candidate{Path: path, SHA256: sum, Description: &pluginv1.DescribeResponse{Version: "v1", Formats: formats}}
}

// asking has formats that need each secret, and one that includes the key's file.
func asking(t *testing.T) Candidate {
	t.Helper()
	return candidate(t, "asks", &pluginv1.Format{Id: "asks-key", NeedsKey: true}, &pluginv1.Format{Id: "asks-passphrase", NeedsPassphrase: true},
		&pluginv1.Format{Id: "snoops", Includes: []string{"pem"}}, &pluginv1.Format{Id: "modest"})
}

func TestNewVersionReplacesThePreviousOne(t *testing.T) {
	path := folder(t, "pem")
	first := candidate(t, "first", &pluginv1.Format{Id: "mine"})
	copied, err := Add(path, first, Addition{Name: "mine", Projects: []string{"p"}})
	noError(t, err)
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the copy: %v (%v)", info, err)
	}
	for _, content := range []string{"first", "second"} {
		next, err := Add(path, candidate(t, content, &pluginv1.Format{Id: "mine"}), Addition{Name: "mine"})
		noError(t, err)
		e, _ := read(t, path).Find("mine")
		if sum, err := Checksum(next); err != nil || e.SHA256 != sum {
			t.Errorf("listed as %s, copied as %s (%v)", e.SHA256, sum, err)
		}
		if !slices.Equal(e.Projects, []string{"p"}) { // a new version is for those who had the previous one
			t.Errorf("projects of the new version: %v", e.Projects)
		}
	}
	if _, err := os.Stat(copied); !os.IsNotExist(err) {
		t.Errorf("%s is still there (%v)", copied, err)
	}
}

func TestAddRefuses(t *testing.T) {
	path := folder(t, "pem", "der")
	before, err := os.ReadFile(path)
	noError(t, err)
	der := candidate(t, "der", &pluginv1.Format{Id: "der"})
	for name, test := range map[string]struct {
		candidate Candidate
		addition  Addition
		says      string
	}{
		"key":              {asking(t), Addition{Name: "asks", Passphrase: true}, "asks-key needs the private key"},
		"passphrase":       {asking(t), Addition{Name: "asks", Key: true}, "asks-passphrase needs the passphrase"},
		"a built-in name":  {asking(t), Addition{Name: "pem", Key: true, Passphrase: true}, "built in"},
		"no name":          {asking(t), Addition{Name: "../x", Key: true, Passphrase: true}, "not a valid plugin name"},
		"another's format": {der, Addition{Name: "mine"}, "its format der belongs to the plugin der"},
		"nonsense":         {candidate(t, "path", &pluginv1.Format{Id: "path", Filename: "../path"}), Addition{Name: "path"}, "file name"},
		"a name twice":     {candidate(t, "twice", &pluginv1.Format{Id: "a", Filename: "b"}, &pluginv1.Format{Id: "b"}), Addition{Name: "twice"}, "the name b twice"},
		"a bad schema":     {candidate(t, "schema", &pluginv1.Format{Id: "a", OptionsSchema: "[]"}), Addition{Name: "schema"}, "not an object"},
		"a bad target": {candidate(t, "target", &pluginv1.Format{Id: "a", Targets: []*pluginv1.Target{{Id: "t", Title: "T", ImportCommand: "t", Options: `{"a":1}`}}}),
			Addition{Name: "target"}, "its target t"},
	} {
		_, err := Add(path, test.candidate, test.addition)
		if !errors.Is(err, engine.CodeInvalidRequest) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Add(filepath.Join(t.TempDir(), FileName), candidate(t, "mine", &pluginv1.Format{Id: "mine"}), Addition{Name: "mine"}); err == nil {
		t.Error("Add made a catalogue where there was none")
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the catalogue has changed: %v\n%s", err, after)
	}
}

// A format that includes the file of a format with the private key contains the
// private key too.
func TestGrantOfTheKeyIsTransitive(t *testing.T) {
	path := folder(t, "pem")
	_, err := Add(path, asking(t), Addition{Name: "asks", Key: true, Passphrase: true})
	noError(t, err)
	if e, _ := read(t, path).Find("asks"); !slices.Equal(e.Grants.Key, []string{"asks-key", "snoops"}) || !slices.Equal(e.Grants.Passphrase, []string{"asks-passphrase"}) {
		t.Errorf("granted: %+v", e.Grants)
	}
}

func TestAddRefusesABinaryThatChanged(t *testing.T) {
	path := folder(t)
	c := candidate(t, "one", &pluginv1.Format{Id: "mine"})
	noError(t, os.WriteFile(c.Path, []byte("another"), 0o700))
	if _, err := Add(path, c, Addition{Name: "mine"}); err == nil {
		t.Error("it was added")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "mine*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v (%v)", left, err)
	}
}

// Additions at the same time do not overwrite each other.
func TestAdditionsAtTheSameTime(t *testing.T) {
	path := folder(t, "pem")
	var adding sync.WaitGroup
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		c := candidate(t, name, &pluginv1.Format{Id: name})
		adding.Go(func() {
			if _, err := Add(path, c, Addition{Name: name}); err != nil {
				t.Error(err)
			}
		})
	}
	adding.Wait()
	if c := read(t, path); len(c.Plugins) != 9 {
		t.Errorf("%d entries", len(c.Plugins))
	}
}

package catalogue

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// Candidate is a plugin that was started and has described itself.
type Candidate struct {
	Path        string // of its binary
	SHA256      string // of the binary that was started, in hexadecimal
	Description *pluginv1.DescribeResponse
}

// Addition says how to list a plugin. Only Name has no working zero value.
type Addition struct {
	Name string
	// Key and Passphrase grant each to the formats that need it.
	Key, Passphrase bool
	// Projects are the ids of the projects that have its formats. Default: those of
	// the entry that it replaces, or else all.
	Projects []string
}

// Add copies the plugin into the folder of the catalogue and lists it there, in
// place of an entry of that name. It returns the path of the copy. A running host
// starts the plugin on Reload. An error with engine.CodeInvalidRequest says why
// the plugin or the addition is refused.
func Add(catalogueFile string, c Candidate, a Addition) (path string, err error) {
	if err := declaration.Check(c.Description); err != nil {
		return "", engine.Errorf(engine.CodeInvalidRequest, "a host would refuse the plugin: %v", err)
	}
	folder := filepath.Dir(catalogueFile)
	var old Entry
	err = change(catalogueFile, func(current *Catalogue) error {
		others := Catalogue{slices.DeleteFunc(slices.Clone(current.Plugins), func(e Entry) bool { return e.Name == a.Name })}
		old, _ = current.Find(a.Name)
		e, err := newEntry(others, old, c, a)
		if err != nil {
			return err
		}
		path = filepath.Join(folder, e.Path)
		if err := c.copyTo(path); err != nil {
			return fmt.Errorf("copy plugin: %w", err)
		}
		current.Plugins = append(others.Plugins, e)
		return nil
	})
	if err != nil {
		return "", err
	}
	if old.SHA256 != c.SHA256 && old.SHA256 != "" && old.Path == copyName(old.Name, old.SHA256) {
		if err := os.Remove(filepath.Join(folder, old.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove the binary of the plugin's previous version: %w", err)
		}
	}
	return path, nil
}

func (c Candidate) copyTo(path string) error {
	content, err := os.ReadFile(c.Path)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != c.SHA256 {
		return errors.New("the binary has changed since it was started")
	}
	return replaceFile(path, content, 0o755)
}

// copyName returns the file name of the copy. It contains the checksum, so that at
// every moment the listed binary exists and has the listed checksum.
func copyName(name, sum string) string { return name + "-" + sum }

// newEntry makes the entry of the candidate. It keeps the limits of the entry that
// it replaces and, unless the addition names others, the projects: a new version
// must not reach people who did not have the previous one.
func newEntry(others Catalogue, old Entry, c Candidate, a Addition) (Entry, error) {
	refuse := func(format string, args ...any) (Entry, error) {
		return Entry{}, engine.Errorf(engine.CodeInvalidRequest, format, args...)
	}
	switch {
	case !pluginName.MatchString(a.Name):
		return refuse("%q is not a valid plugin name; use at most 32 lower case letters, digits, - and _", a.Name)
	case old.BuiltIn:
		return refuse("the plugin %s is built in; choose another name", a.Name)
	}
	e := Entry{Name: a.Name, Path: copyName(a.Name, c.SHA256), SHA256: c.SHA256, Projects: a.Projects}
	e.keepSettings(old)
	formats := c.Description.GetFormats()
	keys := needKey(formats, others)
	for _, f := range formats {
		id := f.GetId()
		for _, other := range others.Plugins {
			if slices.Contains(other.Formats, id) {
				return refuse("its format %s belongs to the plugin %s already", id, other.Name)
			}
		}
		switch {
		case keys[id] && !a.Key:
			return refuse("its format %s needs the private key; grant it, or do not add the plugin", id)
		case f.GetNeedsPassphrase() && !a.Passphrase:
			return refuse("its format %s needs the passphrase; grant it, or do not add the plugin", id)
		}
		e.Formats = append(e.Formats, id)
		if keys[id] {
			e.Grants.Key = append(e.Grants.Key, id)
		}
		if f.GetNeedsPassphrase() {
			e.Grants.Passphrase = append(e.Grants.Passphrase, id)
		}
	}
	return e, nil
}

// needKey returns the formats that need the grant of the key: they use it, or
// include the file of a format that has the grant.
func needKey(formats []*pluginv1.Format, others Catalogue) map[string]bool {
	keys := map[string]bool{}
	for _, other := range others.Plugins {
		for _, id := range other.Grants.Key {
			keys[id] = true
		}
	}
	for range formats { // a chain of includes is no longer than the list
		for _, f := range formats {
			if f.GetNeedsKey() || slices.ContainsFunc(f.GetIncludes(), func(id string) bool { return keys[id] }) {
				keys[f.GetId()] = true
			}
		}
	}
	return keys
}

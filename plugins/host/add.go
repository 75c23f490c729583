package host

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
)

// Addition says how a plugin is to be listed. Only Name has no working zero
// value.
type Addition struct {
	Name string
	// Key and Passphrase grant each to the formats that ask for it.
	Key, Passphrase bool
	// Projects are those that get its formats, by id. Default: those that its
	// entry before names, else all.
	Projects []string
}

// Add copies the plugin beside the catalogue and lists it there, in place of the
// entry of that name unless that is built in, and returns the copy's path. The
// copy is of what was tried. A running host takes the plugin up by Reload.
// CodeInvalidRequest says what of the plugin or the addition stands in the way.
func (t *Trial) Add(catalogueFile string, a Addition) (path string, err error) {
	if err := t.Check(); err != nil {
		return "", engine.Errorf(engine.CodeInvalidRequest, "a host would refuse the plugin: %v", err)
	}
	folder := filepath.Dir(catalogueFile)
	var old entry
	err = changeCatalogue(catalogueFile, func(c *catalogue) error {
		others := catalogue{slices.DeleteFunc(slices.Clone(c.Plugins), func(e entry) bool { return e.Name == a.Name })}
		old, _ = c.find(a.Name)
		e, err := t.entry(others, old, a)
		if err != nil {
			return err
		}
		path = filepath.Join(folder, e.Path)
		if err := t.copyTo(path); err != nil {
			return fmt.Errorf("copy plugin: %w", err)
		}
		c.Plugins = append(others.Plugins, e)
		return nil
	})
	if err != nil {
		return "", err
	}
	if old.SHA256 != t.SHA256 && old.SHA256 != "" && old.Path == copyName(old.Name, old.SHA256) {
		if err := os.Remove(filepath.Join(folder, old.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("remove the plugin that was listed before: %w", err)
		}
	}
	return path, nil
}

func (t *Trial) copyTo(path string) error {
	content, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != t.SHA256 {
		return errors.New("the binary has changed since it was tried")
	}
	return replaceFile(path, 0o755, content)
}

// copyName is what Add calls a binary: not the same for two of them, so that at
// every moment what the catalogue lists is there and is what it hashes to.
func copyName(name, sum string) string { return name + "-" + sum }

// entry makes the plugin's entry beside the others. Limits and, unless others are
// given, projects are kept of the one that it replaces: a new version must not
// reach people who did not have the one before.
func (t *Trial) entry(others catalogue, old entry, a Addition) (entry, error) {
	refuse := func(format string, args ...any) (entry, error) {
		return entry{}, engine.Errorf(engine.CodeInvalidRequest, format, args...)
	}
	switch {
	case !pluginName.MatchString(a.Name):
		return refuse("%q is not a plugin's name: lower case letters, digits, - and _, at most 32", a.Name)
	case old.BuiltIn:
		return refuse("the plugin %s is built in; this one needs another name", a.Name)
	}
	e := entry{Name: a.Name, Path: copyName(a.Name, t.SHA256), SHA256: t.SHA256, Projects: a.Projects}
	e.keep(old)
	keys := t.takeKey(others)
	for _, f := range t.Formats() {
		id := f.GetId()
		for _, other := range others.Plugins {
			if slices.Contains(other.Formats, id) {
				return refuse("its format %s is the plugin %s's already", id, other.Name)
			}
		}
		switch {
		case keys[id] && !a.Key:
			return refuse("its format %s asks for the private key, and the grant of that was not given", id)
		case f.GetNeedsPassphrase() && !a.Passphrase:
			return refuse("its format %s asks for the passphrase, and the grant of that was not given", id)
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

// takeKey finds the plugin's formats that need the grant of the key: for
// themselves, or to hold the file of a format that may have it.
func (t *Trial) takeKey(others catalogue) map[string]bool {
	keys := map[string]bool{}
	for _, other := range others.Plugins {
		for _, id := range other.Grants.Key {
			keys[id] = true
		}
	}
	for range t.Formats() { // as often as one can include another
		for _, f := range t.Formats() {
			if f.GetNeedsKey() || slices.ContainsFunc(f.GetIncludes(), func(id string) bool { return keys[id] }) {
				keys[f.GetId()] = true
			}
		}
	}
	return keys
}

package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/countersign-dev/countersign/plugins/sandbox"
)

// CatalogueName is the file name that WriteCatalogue gives a catalogue.
const CatalogueName = "catalogue.json"

// catalogue lists the plugins that may run. It is the root of trust: who can
// write it decides what runs and what gets keys.
type catalogue struct {
	Plugins []entry `json:"plugins"`
}

// entry allows one plugin. Path is relative to the catalogue's folder. A format
// that Formats does not list is refused, and one that Grants does not list under
// key or passphrase never gets it, whatever the plugin declares.
type entry struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	SHA256  string   `json:"sha256,omitempty"`
	Formats []string `json:"formats"`
	Grants  grants   `json:"grants"`
	// Projects are the ids of those that have its formats; absent, all have. An
	// empty list is kept: it means none.
	Projects projectIDs `json:"projects,omitzero"`
	Limits   limits     `json:"limits,omitzero"`
	// BuiltIn marks what WriteCatalogue wrote and may write anew.
	BuiltIn bool `json:"built_in,omitempty"`
}

// projectIDs refuses null, which a template makes of an empty list: it could be
// meant as none and would be taken for all.
type projectIDs []string

// UnmarshalJSON implements json.Unmarshaler.
func (p *projectIDs) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return errors.New("projects is null: leave it out for all projects, or make it [] for none")
	}
	return json.Unmarshal(text, (*[]string)(p))
}

// limits bound a plugin; zero is the default. Those of the sandbox may be lower
// than their defaults, never higher.
type limits struct {
	sandbox.Limits
	// Concurrency is how many renders it has at once; up to maxConcurrency.
	Concurrency int `json:"concurrency,omitempty"`
}

type grants struct {
	Key        []string `json:"key,omitempty"`
	Passphrase []string `json:"passphrase,omitempty"`
}

var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// readCatalogue reads a catalogue and refuses one with a member it does not
// know: a misspelt one would change what is allowed.
func readCatalogue(path string) (catalogue, error) {
	var c catalogue
	text, err := os.ReadFile(path) //nolint:gosec // the path is the operator's setting
	if err != nil {
		return c, fmt.Errorf("read plugin catalogue: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("read plugin catalogue %s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return c, fmt.Errorf("read plugin catalogue %s: something follows its end", path)
	}
	seen := map[string]bool{}
	for i, e := range c.Plugins {
		if !pluginName.MatchString(e.Name) {
			return c, fmt.Errorf("read plugin catalogue %s: entry %d: %q is not a plugin's name (%s)", path, i, e.Name, pluginName)
		}
		if seen[e.Name] {
			return c, fmt.Errorf("read plugin catalogue %s: %s is listed twice", path, e.Name)
		}
		seen[e.Name] = true
	}
	return c, nil
}

func (c catalogue) find(name string) (entry, bool) {
	i := slices.IndexFunc(c.Plugins, func(e entry) bool { return e.Name == name })
	if i < 0 {
		return entry{}, false
	}
	return c.Plugins[i], true
}

// binary is where the plugin lies and what it must hash to.
func (e entry) binary(folder string) (path string, sum []byte, err error) {
	if !filepath.IsLocal(e.Path) {
		return "", nil, errors.New("its path leads out of the catalogue's folder")
	}
	sum, err = hex.DecodeString(e.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return "", nil, fmt.Errorf("its sha256 in the catalogue is not 64 hexadecimal digits")
	}
	return filepath.Join(folder, e.Path), sum, nil
}

// WriteCatalogue brings the plugins of the catalogue at source, which lie in dir,
// into dir/catalogue.json with their hashes, as built in. Those that were built in
// before and are no more go; entries that somebody else added stay as they are,
// and of a built-in one the projects and limits that somebody set there. It fails
// where somebody else's has the name of a built-in one.
func WriteCatalogue(source, dir string) error {
	c, err := readCatalogue(source)
	if err != nil {
		return err
	}
	for i := range c.Plugins {
		e := &c.Plugins[i]
		if !filepath.IsLocal(e.Path) {
			return fmt.Errorf("write plugin catalogue: %s: path %q leads out of the catalogue's folder", e.Name, e.Path)
		}
		if e.SHA256, err = Checksum(filepath.Join(dir, e.Path)); err != nil {
			return fmt.Errorf("write plugin catalogue: %s: %w", e.Name, err)
		}
		e.BuiltIn = true
	}
	path := filepath.Join(dir, CatalogueName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return writeCatalogue(path, c)
	}
	return changeCatalogue(path, func(there *catalogue) error {
		for i := range c.Plugins {
			if old, ok := there.find(c.Plugins[i].Name); ok {
				c.Plugins[i].keep(old)
			}
		}
		for _, e := range there.Plugins {
			_, again := c.find(e.Name)
			switch {
			case again && !e.BuiltIn:
				return fmt.Errorf("write plugin catalogue: it lists a plugin %s that is not built in; give that another name, or remove it", e.Name)
			case !again && !e.BuiltIn:
				c.Plugins = append(c.Plugins, e)
			}
		}
		*there = c
		return nil
	})
}

// keep takes over what was set in the entry before.
func (e *entry) keep(old entry) {
	if e.Projects == nil {
		e.Projects = old.Projects
	}
	if e.Limits == (limits{}) {
		e.Limits = old.Limits
	}
}

// changeCatalogue changes a catalogue that is there, one change after the other:
// what another process adds meanwhile is not lost.
func changeCatalogue(path string, change func(*catalogue) error) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("change plugin catalogue: %w", err)
	}
	defer func() { _ = folder.Close() }() // which gives the lock back
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock plugin catalogue: %w", err)
	}
	c, err := readCatalogue(path)
	if err != nil {
		return err
	}
	if err := change(&c); err != nil {
		return err
	}
	return writeCatalogue(path, c)
}

func writeCatalogue(path string, c catalogue) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = replaceFile(path, 0o644, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write plugin catalogue: %w", err)
	}
	return nil
}

// replaceFile puts a file in the place of another at once, so that nobody ever
// reads half of one.
func replaceFile(path string, mode fs.FileMode, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".catalogue-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already once renamed
	_, err = temp.Write(content)
	if err == nil {
		err = temp.Chmod(mode)
	}
	if err == nil {
		err = temp.Sync()
	}
	if closed := temp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	return err
}

// Checksum is the SHA-256 of a file in hex, as catalogues list it.
func Checksum(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's setting
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // only read from
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

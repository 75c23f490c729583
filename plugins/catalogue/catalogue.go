// Package catalogue reads and writes the file that decides which plugins may run.
// Start with [Read]; [Write] makes the catalogue of a build, and [Add] lists one
// plugin more.
//
// The catalogue is the root of trust: who can write it decides which programs run
// and which of them receive private keys. It lists each plugin by its SHA-256.
package catalogue

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// FileName is the name that Write gives a catalogue.
const FileName = "catalogue.json"

// MaxConcurrency is the most renders at once that an entry may allow.
const MaxConcurrency = 256

// Catalogue lists the plugins that may run.
type Catalogue struct {
	Plugins []Entry `json:"plugins"`
}

// Entry allows one plugin to run. A plugin that declares a format which Formats
// does not list is refused. A format that Grants does not list under key or
// passphrase never receives it, whatever the plugin declares.
type Entry struct {
	Name string `json:"name"`
	// Path is relative to the folder of the catalogue.
	Path    string   `json:"path"`
	SHA256  string   `json:"sha256,omitempty"`
	Formats []string `json:"formats"`
	Grants  Grants   `json:"grants"`
	// Projects are the ids of the projects that have the plugin's formats. If it is
	// absent, all projects have them. An empty list means none, and is kept.
	Projects projectIDs `json:"projects,omitzero"`
	Limits   Limits     `json:"limits,omitzero"`
	// BuiltIn marks an entry that Write made and may replace.
	BuiltIn bool `json:"built_in,omitempty"`
}

// Grants lists the formats, by id, that receive the private key and the passphrase.
type Grants struct {
	Key        []string `json:"key,omitempty"`
	Passphrase []string `json:"passphrase,omitempty"`
}

// Limits bound a plugin; zero is the default. The limits of the sandbox may be
// lower than their defaults, never higher.
type Limits struct {
	sandbox.Limits
	// Concurrency is how many renders the plugin has at once, up to MaxConcurrency.
	Concurrency int `json:"concurrency,omitempty"`
}

// projectIDs refuses null, which a template makes of an empty list: the author
// could mean no project, but absence means all.
type projectIDs []string

// UnmarshalJSON implements json.Unmarshaler.
func (p *projectIDs) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return errors.New("projects is null: leave it out for all projects, or make it [] for none")
	}
	return json.Unmarshal(text, (*[]string)(p))
}

var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Read reads a catalogue. It refuses one with an unknown member, because a
// misspelt member would change what is allowed.
func Read(path string) (Catalogue, error) {
	var c Catalogue
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
		return c, fmt.Errorf("read plugin catalogue %s: there is more text after its end; remove it", path)
	}
	seen := map[string]bool{}
	for i, e := range c.Plugins {
		if !pluginName.MatchString(e.Name) {
			return c, fmt.Errorf("read plugin catalogue %s: entry %d: %q is not a valid plugin name; it must match %s", path, i, e.Name, pluginName)
		}
		if seen[e.Name] {
			return c, fmt.Errorf("read plugin catalogue %s: %s is listed twice", path, e.Name)
		}
		seen[e.Name] = true
	}
	return c, nil
}

// CheckAccess refuses a catalogue that others than its owner can change: the file,
// its folder, or one of the binaries that it lists.
func (c Catalogue) CheckAccess(path string) error {
	folder := filepath.Dir(path)
	trusted := []string{path, folder}
	for _, e := range c.Plugins {
		if filepath.IsLocal(e.Path) {
			trusted = append(trusted, filepath.Join(folder, e.Path))
		}
	}
	if err := engine.CheckTrustedFiles(trusted...); err != nil {
		return fmt.Errorf("plugin catalogue: %w", err)
	}
	return nil
}

// Find returns the entry of that name.
func (c Catalogue) Find(name string) (Entry, bool) {
	i := slices.IndexFunc(c.Plugins, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return c.Plugins[i], true
}

// Binary returns the path of the plugin's binary and the SHA-256 that it must
// have. folder is that of the catalogue.
func (e Entry) Binary(folder string) (path string, sum []byte, err error) {
	if !filepath.IsLocal(e.Path) {
		return "", nil, errors.New("its path leads out of the catalogue's folder")
	}
	sum, err = hex.DecodeString(e.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return "", nil, errors.New("its sha256 in the catalogue is not 64 hexadecimal digits")
	}
	return filepath.Join(folder, e.Path), sum, nil
}

// ForSandbox checks all limits and returns those of the sandbox, with the defaults
// filled in.
func (l Limits) ForSandbox() (sandbox.Limits, error) {
	if n := l.Concurrency; n < 0 || n > MaxConcurrency {
		return sandbox.Limits{}, fmt.Errorf("its limit concurrency in the catalogue is %d; it must be from 1 to %d", n, MaxConcurrency)
	}
	return l.Within(sandbox.DefaultLimits)
}

// Admit returns an error if the plugin declares something malformed, or a format
// that the entry does not list.
func (e Entry) Admit(d *pluginv1.DescribeResponse) error {
	if err := declaration.CheckForm(d); err != nil {
		return err
	}
	for _, f := range d.GetFormats() {
		if !slices.Contains(e.Formats, f.GetId()) {
			return fmt.Errorf("it declares the format %s, which the catalogue does not list", f.GetId())
		}
	}
	return nil
}

// Checksum returns the SHA-256 of a file in hexadecimal, as catalogues list it.
func Checksum(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's setting
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // the file was only read
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

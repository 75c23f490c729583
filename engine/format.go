package engine

import (
	"context"
	"encoding/json"
	"slices"
)

// Format is one kind of file that a certificate can be downloaded as. ID, file
// name and aliases all name it. ContainsKey, NeedsPassphrase, Projects and the
// options take in what the formats it includes need.
type Format struct {
	ID              string
	Filename        string
	Aliases         []string
	MediaType       string
	ContainsKey     bool
	NeedsPassphrase bool
	NeedsChain      bool
	Description     string
	TypicalUse      string
	OptionsSchema   json.RawMessage
	Includes        []string
	Targets         []FormatTarget
	// Projects are the ids of those in which the format exists; nil is all.
	Projects []string
	Plugin   PluginState
}

// EnabledIn tells whether the format exists in a project.
func (f Format) EnabledIn(projectID string) bool {
	return f.Projects == nil || slices.Contains(f.Projects, projectID)
}

// FormatTarget is software that takes a format's file. Options is a JSON object
// of the options that it needs; CheckOptions accepts it once those that are
// required are added. ImportCommand is the plugin's word for a person, with {file}
// for the file's path and {alias} for the name that the software is to know it by.
type FormatTarget struct {
	ID            string
	Title         string
	Options       string
	ImportCommand string
}

// PluginState is the renderer behind a format.
type PluginState struct {
	Name    string
	Version string
	SHA256  string
	State   string
	Detail  string
	Formats []string
	Sandbox Sandbox
}

// Sandbox is what confines a renderer: what is enforced, and what is not, each
// with the reason.
type Sandbox struct {
	Enforced []string
	Missing  []string
}

// RenderJob is what a renderer turns into a file. Options is a JSON object that
// CheckOptions accepted. PrivateKey (PKCS#8 DER) and Passphrase are set only
// for formats that need them, and implementations hand them to no other.
type RenderJob struct {
	Format     string
	Name       string
	Leaf       []byte
	Chain      [][]byte
	PrivateKey []byte
	Passphrase Secret
	Options    string
	// Recheck, if set, is asked by a renderer that had the job wait before it
	// began: an error ends the job and is what Render returns.
	Recheck func(context.Context) error
}

// Formats renders files. It is safe for concurrent use.
type Formats interface {
	// Formats lists what can be rendered, by id.
	Formats() []Format
	// Format finds one by id, file name or alias.
	Format(name string) (Format, bool)
	// CheckOptions returns CodeInvalidOptions unless the format takes these
	// options, else their canonical JSON: an object with sorted members.
	CheckOptions(format string, options map[string]any) (string, error)
	// Render makes the file, or returns CodeRendererFailed, CodeUnavailable when
	// too many wait for it, or what Recheck returned.
	Render(ctx context.Context, job RenderJob) ([]byte, error)
}

// Keys seals private keys at rest and opens them. The identity binds a sealed
// key to its record: it opens under no other.
type Keys interface {
	Seal(ctx context.Context, identity string, key []byte) (SealedKey, error)
	Open(ctx context.Context, identity string, sealed SealedKey) ([]byte, error)
}

package engine

import (
	"context"
	"encoding/json"
	"slices"
)

// Format is one kind of file that a certificate can be downloaded as. Its id, file
// name and aliases all name it. ContainsKey, NeedsPassphrase, Projects and the
// options include those of the formats that it contains.
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
	// Projects are the ids of the projects that have the format; nil means all.
	Projects []string
	Plugin   PluginState
}

// EnabledIn reports whether a project has the format.
func (f Format) EnabledIn(projectID string) bool {
	return f.Projects == nil || slices.Contains(f.Projects, projectID)
}

// FormatTarget is software that imports a format's file. Options is a JSON object
// of the options that it needs, without required ones that only a person can give.
// ImportCommand is the command that imports the file, for a user to read: {file}
// is replaced by its path and {alias} by the name under which it is imported.
type FormatTarget struct {
	ID            string
	Title         string
	Options       string
	ImportCommand string
}

// PluginState is the state of a plugin.
type PluginState struct {
	Name    string
	Version string
	SHA256  string
	State   string
	Detail  string
	Formats []string
	Sandbox Sandbox
}

// Sandbox lists the restrictions of a plugin that are enforced, and those that are
// missing, each with the reason.
type Sandbox struct {
	Enforced []string
	Missing  []string
}

// RenderJob is what a renderer turns into a file. Options is a JSON object that
// CheckOptions accepted. PrivateKey (PKCS#8 DER) and Passphrase are set only
// for formats that need them, and implementations give them to no other.
type RenderJob struct {
	Format     string
	Name       string
	Leaf       []byte
	Chain      [][]byte
	PrivateKey []byte
	Passphrase Secret
	Options    string
	// Recheck, if set, is called after a job has waited for its turn: an error ends
	// the job, and Render returns it.
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
	// Render makes the file, or returns CodeRendererFailed, CodeUnavailable if too
	// many jobs wait, or what Recheck returned.
	Render(ctx context.Context, job RenderJob) ([]byte, error)
}

// Keys seals private keys at rest and opens them. The identity binds a sealed key to
// its record: it does not open with another identity.
type Keys interface {
	Seal(ctx context.Context, identity string, key []byte) (SealedKey, error)
	Open(ctx context.Context, identity string, sealed SealedKey) ([]byte, error)
}

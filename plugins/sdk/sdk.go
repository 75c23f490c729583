// Package sdk is the library for authors of format plugins. A plugin is a program
// that renders a certificate as a file:
//
//	func main() { sdk.Serve(renderer{}) }
//
// where renderer implements [Renderer]: Formats declares the formats and their
// needs, and Render renders a file from a [Job], which has methods to parse it. Start
// there and with the package's examples. A test calls Render directly, with jobs
// from package sdktest. The wire format is pluginv1/render.proto.
//
// What the host promises a plugin:
//   - Render gets the private key and the passphrase only for a format that
//     declares the need and that the catalogue grants it;
//   - options are valid under the format's schema;
//   - the context ends when the caller no longer waits;
//   - the files of included formats are complete and have their own file names.
//
// What Serve promises a plugin: a panic in Render fails only that call, and nobody
// sees the value of the panic, which may contain key bytes. The process ends when
// its host ends.
//
// What the host expects of a plugin:
//   - the same job gives the same file, unless the file contains a secret that is
//     encrypted with a random salt;
//   - Render refuses a private key that does not match the certificate;
//   - Render escapes the certificate's name, which may contain any character.
//
// The command countersign plugin test checks these rules and more.
//
// A plugin must not keep a job's content after Render returns, write it anywhere,
// or depend on the environment, the network or the file system. On Linux the host
// confines it (package plugins/sandbox), and system calls that a renderer does not
// need fail. Build it with CGO_ENABLED=0: a binary that needs the system's C library
// must be allowed to read the folders of libraries, so it cannot be fully confined,
// and an operator can forbid that.
//
// A plugin that is built today runs under later hosts. Within a protocol version,
// messages only gain fields, and a missing field means what the older message meant.
// No field is removed, changes its meaning or reuses a number. A change that breaks
// this rule becomes a new version, which is served in addition to the older ones.
// Host and plugin use the newest version that both support. A plugin that shares no
// version with its host is disabled, and its detail says so. The Go API follows the
// same rule: structs gain fields, and Renderer gains no method.
package sdk

import (
	"context"
	"encoding/json"
	"log/slog"
)

// Renderer renders files. The host calls Render concurrently.
type Renderer interface {
	// Formats declares the formats of the plugin. It must always return the same.
	Formats() []Format
	// Render renders the file of the format job.Format. An error text reaches the
	// server's log, unless the format receives a key or passphrase. It should say
	// what is wrong, and must not quote the job.
	Render(ctx context.Context, job Job) ([]byte, error)
}

// Format declares one kind of file. It declares only its own needs; the host adds
// those of the included formats.
type Format struct {
	// ID is the format's name for callers: lower case letters, digits, "-" and "_".
	ID string
	// Filename is the name of the file. Callers can also use it to select the format.
	Filename string
	// Aliases are further names for callers.
	Aliases []string
	// MediaType is the file's type (RFC 6838), without parameters.
	MediaType string
	// NeedsKey asks for the private key, NeedsPassphrase for a passphrase.
	NeedsKey, NeedsPassphrase bool
	// NeedsChain is set if a certificate without a chain cannot be rendered.
	NeedsChain bool
	// Description says in one sentence what the file contains, TypicalUse which
	// software needs it. Users see both.
	Description, TypicalUse string
	// OptionsSchema is a JSON Schema (draft 2020-12) of a flat object. Its top level
	// may have $schema, title, description, type, properties, required and
	// additionalProperties. References ($ref) are not allowed. Unknown properties are
	// refused unless additionalProperties allows them. An empty schema means that the
	// format has no options. The functions OptionsSchema and Options derive the schema
	// from a struct and read options into it.
	OptionsSchema json.RawMessage
	// Includes are the ids of formats, of any plugin, whose files Render receives.
	Includes []string
	// Targets lists software that can import the file.
	Targets []Target
}

// Target is software that can import a format's file if the file is rendered with
// certain options. A caller who selects a target needs to know none of them.
type Target struct {
	// ID is the target's name for callers: lower case letters, digits, ".", "-" and
	// "_". If the software needs several files, their formats use the same id.
	ID string
	// Title is the software's name with the supported versions.
	Title string
	// Options are the options that the software needs, of the format or of an
	// included one. Callers may add options and override these.
	Options map[string]any
	// ImportCommand is one line that a user runs on the machine of the software. In
	// it, {file} is the file's path and {alias} is the name of the certificate in the
	// software. The command must ask for the passphrase, because every process can
	// see the arguments of another.
	ImportCommand string
}

// Job is the input of one Render call. Only its format is printed, so that a log
// line cannot contain a secret by mistake.
type Job struct {
	// Format is the id of the format to render.
	Format string
	// Name is the certificate's name in Countersign.
	Name string
	// Leaf and Chain are X.509 certificates in DER (RFC 5280). The chain starts with
	// the leaf's issuer and has no self-signed root.
	Leaf  []byte
	Chain [][]byte
	// PrivateKey is PKCS#8 in DER (RFC 5958), nil unless the format needs it.
	PrivateKey []byte
	// Passphrase is "" unless the format needs it.
	Passphrase string
	// Options is a JSON object that is valid under the format's schema. The function
	// Options reads it.
	Options json.RawMessage
	// Files are the files of the included formats, by file name. If the certificate
	// has no chain, the files of formats that need a chain are missing.
	Files map[string][]byte
}

// String implements fmt.Stringer. It prints the format only.
func (j Job) String() string { return "job for format " + j.Format }

// GoString implements fmt.GoStringer, for %#v.
func (j Job) GoString() string { return j.String() }

// LogValue implements slog.LogValuer.
func (j Job) LogValue() slog.Value { return slog.StringValue(j.String()) }

// MarshalText implements encoding.TextMarshaler, so that no encoder writes a secret.
func (j Job) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

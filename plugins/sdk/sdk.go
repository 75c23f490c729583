// Package sdk is what the author of a format plugin imports. A plugin is a
// program that turns a certificate into a file:
//
//	func main() { sdk.Serve(renderer{}) }
//
// where renderer implements [Renderer]: Formats says what it makes and what it
// needs for that, Render makes it from a [Job], whose methods take it apart.
// Start there and with the package's examples. A test calls Render as it is, with
// the jobs that package sdktest makes. The wire format is pluginv1/render.proto.
//
// What the host promises a plugin:
//   - Render gets the private key and the passphrase only for a format that
//     declares the need and that the catalogue grants it;
//   - options are valid under the format's schema;
//   - the context ends when the caller no longer waits;
//   - files of included formats are complete, under their own file names.
//
// What a plugin can rely on from Serve: a panic in Render fails that call and
// nothing else, and its value, which may hold key bytes, goes nowhere; the
// process ends when its host does.
//
// What is relied on: the same job makes the same file, unless there is a key or
// passphrase in it that takes a salt; a key that is not the certificate's is
// refused; and a certificate's name, which may be anything, means nothing where it
// is put. countersign plugin test checks these and more.
//
// What a plugin must not do: keep a job's content after Render returns, write
// it anywhere, or rely on the environment, the network or the file system. On
// Linux it could not: the host confines it (package plugins/sandbox), and a
// system call that a renderer does not need fails. Build it with CGO_ENABLED=0:
// a binary that needs the system's libraries has to be let read them, and does
// not run where the operator requires the sandbox whole.
//
// A plugin that is built today runs under the hosts of tomorrow. Within a version
// of the protocol, messages only gain fields, whose absence means what was meant
// before there were any; no field is dropped, changes its meaning or gives its
// number to another. Whatever breaks with that becomes a new version, served
// beside the older ones: host and plugin agree on the newest that both speak, and
// a plugin that shares none with its host is disabled and says so. In Go likewise:
// structs gain fields, and Renderer gains no method.
package sdk

import (
	"context"
	"encoding/json"
	"log/slog"
)

// Renderer makes files. Render is called concurrently; Formats once, at start.
type Renderer interface {
	// Formats declares what the plugin renders. The answer never changes.
	Formats() []Format
	// Render makes the file that job.Format names. The text of an error reaches
	// the operator's log unless the format has to do with a key or passphrase;
	// it should say what is wrong and never quote the job.
	Render(ctx context.Context, job Job) ([]byte, error)
}

// Format declares one kind of file. The needs are those of its own rendering;
// the host adds what the included formats need.
type Format struct {
	// ID names the format to callers: lower case letters, digits, "-" and "_".
	ID string
	// Filename is what the file is called, and a second name for the format.
	Filename string
	// Aliases are further names that callers may use.
	Aliases []string
	// MediaType is the file's type (RFC 6838), without parameters.
	MediaType string
	// NeedsKey asks for the private key, NeedsPassphrase for a passphrase.
	NeedsKey, NeedsPassphrase bool
	// NeedsChain says that a certificate without a chain cannot be rendered.
	NeedsChain bool
	// Description says in a sentence what the file is, TypicalUse what it is for.
	// Both are shown to operators.
	Description, TypicalUse string
	// OptionsSchema is a JSON Schema (draft 2020-12) of a flat object: at its top
	// only $schema, title, description, type, properties, required and
	// additionalProperties, and nowhere a reference ($ref). Properties that are not
	// listed are refused unless additionalProperties says otherwise. Empty means
	// that there are no options.
	// OptionsSchema makes one from a struct, into which Options reads them.
	OptionsSchema json.RawMessage
	// Includes names the formats, of any plugin, whose rendered files Render gets.
	Includes []string
	// Targets is the software that is known to take the file.
	Targets []Target
}

// Target is software that takes a format's file, made with certain options. Its
// callers then need not know what older Windows calls a wrong password.
type Target struct {
	// ID names the target to callers: lower case letters, digits, ".", "-" and "_".
	// Formats that a piece of software takes together have targets of one id.
	ID string
	// Title is the software's name, with the versions for which all this is true.
	Title string
	// Options are those that the software needs, of the format or of one that it
	// includes. Callers may add others and overrule these.
	Options map[string]any
	// ImportCommand is one line that a person runs where the software is. In it
	// {file} stands for the file's path and {alias} for the name that the software
	// is to know the certificate by. It asks for the passphrase, if there is one:
	// arguments are for every process to see.
	ImportCommand string
}

// Job is what one Render call works on. It prints as its format alone, so that
// a careless log line tells no secret.
type Job struct {
	// Format is the id of the format to render.
	Format string
	// Name is the certificate's name in Countersign.
	Name string
	// Leaf and Chain are X.509 certificates in DER (RFC 5280); the chain starts
	// with the leaf's issuer and leaves self-signed roots out.
	Leaf  []byte
	Chain [][]byte
	// PrivateKey is PKCS#8 in DER (RFC 5958), nil unless the format needs it.
	PrivateKey []byte
	// Passphrase is "" unless the format needs it.
	Passphrase string
	// Options is a JSON object that the format's schema accepts; see func Options.
	Options json.RawMessage
	// Files holds the included formats' files by file name. One that cannot be
	// rendered for this certificate, for want of a chain, is not there.
	Files map[string][]byte
}

// String implements fmt.Stringer without telling more than the format.
func (j Job) String() string { return "job for format " + j.Format }

// GoString implements fmt.GoStringer, for %#v.
func (j Job) GoString() string { return j.String() }

// LogValue implements slog.LogValuer.
func (j Job) LogValue() slog.Value { return slog.StringValue(j.String()) }

// MarshalText keeps the content out of JSON and other encodings.
func (j Job) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

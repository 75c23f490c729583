// Command pkcs12 is the format plugin that writes PKCS#12 bundles (RFC 7292):
// key, certificate and chain in one file under a passphrase. Start with render.
//
// The library encodes bundles in which key and certificate have no name, and
// importers make one up, such as "1". Neither it nor a module that is kept offers
// one, so withAlias adds the name to what the library made: that is the structure
// of the file and the one key derivation that the standard library lacks, while
// the choice of algorithms, the salts and the encryption of the key stay the
// library's. A bundle without an alias is the library's, byte for byte.
package main

import (
	"context"
	"crypto/rand"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

type options struct {
	Legacy bool   `json:"legacy" default:"false" title:"Older encryption" description:"Encrypt with 3DES and SHA-1 instead of AES-256 and SHA-256, for Windows Server 2016, macOS 14 and other importers that call the modern kind a wrong password."`
	Alias  string `json:"alias" minLength:"1" maxLength:"128" pattern:"^[!-~]([ -~]*[!-~])?$" title:"Friendly name" description:"What importers call the key and its certificate: the alias in Java, the friendly name in Windows. Without one they make one up."`
}

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "pkcs12", Filename: "bundle.pkcs12", Aliases: []string{"p12", "pfx"},
		MediaType: "application/x-pkcs12", NeedsKey: true, NeedsPassphrase: true,
		Description:   "Private key, certificate and chain in one file, encrypted under a passphrase (PKCS#12, also known as PFX).",
		TypicalUse:    "Windows and IIS, Java and Tomcat, macOS Keychain, load balancers that take one upload.",
		OptionsSchema: sdk.OptionsSchema[options](),
		Targets:       targets,
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	return render(job, rand.Reader)
}

func main() { sdk.Serve(renderer{}) }

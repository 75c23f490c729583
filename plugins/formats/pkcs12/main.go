// Command pkcs12 is the format plugin for PKCS#12 bundles (RFC 7292): the key, the
// certificate and its chain in one file that is encrypted with a passphrase. Start
// with render.
//
// The library cannot name the key and the certificate of a bundle, and no other
// maintained module can. Importers then invent a name, such as "1". Therefore
// withAlias adds the name to the library's bundle. It implements only the file's
// structure and the one key derivation that the standard library lacks. The
// library chooses the algorithms and salts and encrypts the key. A bundle without
// an alias is exactly what the library writes.
package main

import (
	"context"
	"crypto/rand"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// options are the options that callers can set.
type options struct {
	Legacy bool   `json:"legacy" default:"false" title:"Legacy encryption" description:"Encrypt with 3DES and SHA-1 instead of AES-256 and SHA-256. Windows Server 2016, macOS 14 and other old software need it: they report a wrong password for AES-256."`
	Alias  string `json:"alias" minLength:"1" maxLength:"128" pattern:"^[!-~]([ -~]*[!-~])?$" title:"Friendly name" description:"The name of the key and its certificate after the import: the alias in Java, the friendly name in Windows. Without it, the importing software chooses a name."`
}

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "pkcs12", Filename: "bundle.pkcs12", Aliases: []string{"p12", "pfx"},
		MediaType: "application/x-pkcs12", NeedsKey: true, NeedsPassphrase: true,
		Description:   "The private key, the certificate and its chain in one file, encrypted with a passphrase (PKCS#12, also known as PFX).",
		TypicalUse:    "Windows and IIS, Java and Tomcat, macOS Keychain, and load balancers that accept one file.",
		OptionsSchema: sdk.OptionsSchema[options](),
		Targets:       targets,
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	return render(job, rand.Reader)
}

func main() { sdk.Serve(renderer{}) }

// Command der is the format plugin for binary files (DER, ITU-T X.690): one with
// the certificate (RFC 5280) and one with the private key (RFC 5958). Start with
// render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{
		{
			ID: "der", Filename: "cert.der", Aliases: []string{"cer"},
			MediaType:   "application/pkix-cert",
			Description: "The certificate without its chain, in binary form (DER).",
			TypicalUse:  "Java, Android, Windows and appliances that need a .cer or .der file.",
			Targets: []sdk.Target{
				{ID: "java-truststore", Title: "Java 8 and later: trust the certificate", ImportCommand: `keytool -importcert -alias {alias} -file {file} -keystore truststore.p12 -storetype PKCS12`},
				{ID: "openssl", Title: "OpenSSL 1.1.1 and later", ImportCommand: `openssl x509 -inform DER -in {file} -out cert.pem`},
			},
		},
		{
			ID: "der-key", Filename: "key.der", Aliases: []string{"p8"},
			MediaType: "application/pkcs8", NeedsKey: true,
			Description: "The private key in binary form (PKCS#8 in DER), not encrypted.",
			TypicalUse:  "Java programs that load a PKCS8EncodedKeySpec, and devices that cannot read PEM. Anyone who has the file can use the key.",
			Targets: []sdk.Target{
				{ID: "openssl", Title: "OpenSSL 1.1.1 and later", ImportCommand: `openssl pkey -inform DER -in {file} -out key.pem`},
			},
		},
	}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

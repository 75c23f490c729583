// Command p7b is the format plugin for PKCS#7 files with the certificate and its
// chain and without signatures (RFC 2315, section 9.1; RFC 5652, section 5.1), also
// called certs-only. Start with render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// options are the options that callers can set.
type options struct {
	Encoding string `json:"encoding" enum:"pem,der" default:"pem" title:"Encoding" description:"Text (pem) or binary (der). Most software reads both."`
}

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "p7b", Filename: "bundle.p7b", Aliases: []string{"p7c", "pkcs7"},
		MediaType:     "application/x-pkcs7-certificates",
		Description:   "The certificate and its intermediate certificates in one PKCS#7 file, without the private key.",
		TypicalUse:    "Windows, IIS and Tomcat, if they have the private key already because they created the certificate request.",
		OptionsSchema: sdk.OptionsSchema[options](),
		Targets: []sdk.Target{
			{ID: "java-answer", Title: "Java: response to a certificate request", ImportCommand: `keytool -importcert -alias {alias} -file {file} -keystore keystore.p12`},
			{ID: "windows-answer", Title: "Windows: response to a certificate request", ImportCommand: `certreq -accept -machine {file}`},
			{ID: "openssl", Title: "OpenSSL 1.1.1 and later", Options: map[string]any{"encoding": "pem"}, ImportCommand: `openssl pkcs7 -in {file} -print_certs -out fullchain.pem`},
		},
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

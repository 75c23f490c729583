// Command pem is the format plugin that writes PEM files (RFC 7468): the
// certificate, its chain, both together, the private key, and all in one. Start
// with render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// mediaType is what browsers save and do not try to install.
const mediaType = "application/x-pem-file"

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{
		{
			ID: "cert", Filename: "cert.pem", MediaType: mediaType,
			Description: "The certificate alone, as PEM text.",
			TypicalUse:  "Software that asks for certificate and chain in separate files, or to look at the certificate.",
		},
		{
			ID: "chain", Filename: "chain.pem", MediaType: mediaType, NeedsChain: true,
			Description: "The intermediate certificates that lead from the certificate to its root, as PEM text.",
			TypicalUse:  "The chain file of software that keeps it apart from the certificate, such as Apache before 2.4.8.",
		},
		{
			ID: "fullchain", Filename: "fullchain.pem", MediaType: mediaType,
			Description: "The certificate followed by its intermediate certificates, as PEM text.",
			TypicalUse:  "The certificate file of nginx, Apache, Caddy and most other servers, next to key.pem.",
		},
		{
			ID: "key", Filename: "key.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The private key as PEM text (PKCS#8), not encrypted.",
			TypicalUse:  "The key file of nginx, Apache and most other servers, next to fullchain.pem. Whoever has the file has the key.",
		},
		{
			ID: "haproxy", Filename: "haproxy.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The certificate, its intermediate certificates and the private key in one PEM text, the key not encrypted.",
			TypicalUse:  "The crt file of HAProxy, and of other servers that take everything in one file, such as lighttpd. Whoever has the file has the key.",
		},
	}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

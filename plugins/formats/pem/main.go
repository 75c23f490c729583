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
			Targets: []sdk.Target{
				{ID: "apache-2.4.7", Title: "Apache 2.4.7 and earlier, beside its chain", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/cert.pem`},
			},
		},
		{
			ID: "chain", Filename: "chain.pem", MediaType: mediaType, NeedsChain: true,
			Description: "The intermediate certificates that lead from the certificate to its root, as PEM text.",
			TypicalUse:  "The chain file of software that keeps it apart from the certificate, such as Apache before 2.4.8.",
			Targets: []sdk.Target{
				{ID: "apache-2.4.7", Title: "Apache 2.4.7 and earlier, beside its certificate", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/chain.pem`},
			},
		},
		{
			ID: "fullchain", Filename: "fullchain.pem", MediaType: mediaType,
			Description: "The certificate followed by its intermediate certificates, as PEM text.",
			TypicalUse:  "The certificate file of nginx, Apache, Caddy and most other servers, next to key.pem.",
			Targets: []sdk.Target{
				{ID: "nginx", Title: "nginx: the certificate", ImportCommand: `install -D -m 644 {file} /etc/nginx/ssl/fullchain.pem`},
				{ID: "apache", Title: "Apache 2.4.8 and later: the certificate", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/fullchain.pem`},
			},
		},
		{
			ID: "key", Filename: "key.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The private key as PEM text (PKCS#8), not encrypted.",
			TypicalUse:  "The key file of nginx, Apache and most other servers, next to fullchain.pem. Whoever has the file has the key.",
			Targets: []sdk.Target{
				{ID: "nginx", Title: "nginx: the key", ImportCommand: `install -D -m 600 {file} /etc/nginx/ssl/key.pem`},
				{ID: "apache", Title: "Apache: the key", ImportCommand: `install -D -m 600 {file} /etc/apache2/ssl/key.pem`},
			},
		},
		{
			ID: "haproxy", Filename: "haproxy.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The certificate, its intermediate certificates and the private key in one PEM text, the key not encrypted.",
			TypicalUse:  "The crt file of HAProxy, and of other servers that take everything in one file, such as lighttpd. Whoever has the file has the key.",
			Targets: []sdk.Target{
				{ID: "haproxy", Title: "HAProxy", ImportCommand: `install -D -m 600 {file} /etc/haproxy/certs/haproxy.pem`},
				{ID: "lighttpd", Title: "lighttpd", ImportCommand: `install -D -m 600 {file} /etc/lighttpd/server.pem`},
			},
		},
	}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

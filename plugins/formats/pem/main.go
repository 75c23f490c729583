// Command pem is the format plugin for PEM files (RFC 7468): the certificate, its
// chain, both together, the private key, and all in one file. Start with render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// mediaType is a type that browsers save as a file; they would try to install
// certificates of other types.
const mediaType = "application/x-pem-file"

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{
		{
			ID: "cert", Filename: "cert.pem", MediaType: mediaType,
			Description: "The certificate without its chain, as PEM text.",
			TypicalUse:  "Software that needs the certificate and its chain in separate files, and viewing the certificate.",
			Targets: []sdk.Target{
				{ID: "apache-2.4.7", Title: "Apache 2.4.7 and earlier: the certificate", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/cert.pem`},
			},
		},
		{
			ID: "chain", Filename: "chain.pem", MediaType: mediaType, NeedsChain: true,
			Description: "The intermediate certificates between the certificate and its root, as PEM text.",
			TypicalUse:  "Software that needs the chain in a separate file, such as Apache before 2.4.8.",
			Targets: []sdk.Target{
				{ID: "apache-2.4.7", Title: "Apache 2.4.7 and earlier: the chain", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/chain.pem`},
			},
		},
		{
			ID: "fullchain", Filename: "fullchain.pem", MediaType: mediaType,
			Description: "The certificate followed by its intermediate certificates, as PEM text.",
			TypicalUse:  "The certificate file of nginx, Apache, Caddy and most other servers. Use it together with key.pem.",
			Targets: []sdk.Target{
				{ID: "nginx", Title: "nginx: the certificate", ImportCommand: `install -D -m 644 {file} /etc/nginx/ssl/fullchain.pem`},
				{ID: "apache", Title: "Apache 2.4.8 and later: the certificate", ImportCommand: `install -D -m 644 {file} /etc/apache2/ssl/fullchain.pem`},
			},
		},
		{
			ID: "key", Filename: "key.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The private key as PEM text (PKCS#8), not encrypted.",
			TypicalUse:  "The key file of nginx, Apache and most other servers. Use it together with fullchain.pem. Anyone who has the file can use the key.",
			Targets: []sdk.Target{
				{ID: "nginx", Title: "nginx: the key", ImportCommand: `install -D -m 600 {file} /etc/nginx/ssl/key.pem`},
				{ID: "apache", Title: "Apache: the key", ImportCommand: `install -D -m 600 {file} /etc/apache2/ssl/key.pem`},
			},
		},
		{
			ID: "haproxy", Filename: "haproxy.pem", MediaType: mediaType, NeedsKey: true,
			Description: "The certificate, its intermediate certificates and the private key in one PEM file. The key is not encrypted.",
			TypicalUse:  "The crt file of HAProxy, and other servers that need everything in one file, such as lighttpd. Anyone who has the file can use the key.",
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

// Command pkcs8 is the format plugin for private keys that are encrypted with a
// passphrase (EncryptedPrivateKeyInfo of RFC 5958, as PEM text, RFC 7468, section
// 11). Start with render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "pkcs8-encrypted", Filename: "key.enc.pem", Aliases: []string{"encrypted-key"},
		MediaType: "application/x-pem-file", NeedsKey: true, NeedsPassphrase: true,
		Description: "The private key as PEM text (PKCS#8), encrypted with AES-256 and a passphrase.",
		TypicalUse:  "Servers that can be given a passphrase, such as nginx (ssl_password_file), Apache, PostgreSQL and Kafka, and storing a key on a disk.",
		Targets: []sdk.Target{
			{ID: "nginx", Title: "nginx: the key, with ssl_password_file", ImportCommand: `install -D -m 600 {file} /etc/nginx/ssl/key.enc.pem`},
			{ID: "postgresql", Title: "PostgreSQL 11 and later, with ssl_passphrase_command", ImportCommand: `install -D -o postgres -m 600 {file} "$PGDATA/server.key"`},
			{ID: "openssl", Title: "OpenSSL 1.1.1 and later: decrypt the key", ImportCommand: `openssl pkey -in {file} -out key.pem`},
		},
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

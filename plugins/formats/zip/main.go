// Command zip is the format plugin that puts the other files of a certificate into
// one archive. The host passes these files to it in the job. Start with render.
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
		ID: "zip", Filename: "bundle.zip", MediaType: "application/zip",
		Description: "All files in one archive: cert.pem, chain.pem (if there is a chain), fullchain.pem, key.pem and bundle.pkcs12. The archive and the key.pem in it are not encrypted.",
		TypicalUse:  "Everything for a user who does not know yet which file their software needs.",
		Includes:    []string{"cert", "chain", "fullchain", "key", "pkcs12"},
		Targets: []sdk.Target{
			{ID: "linux", Title: "Linux", ImportCommand: `unzip {file}`},
		},
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

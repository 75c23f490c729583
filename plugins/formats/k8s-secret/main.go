// Command k8s-secret is the format plugin for Kubernetes manifests: a Secret of
// type kubernetes.io/tls with the certificate, its chain and the key, for kubectl
// apply. Start with render.
package main

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// options are the options that callers can set.
type options struct {
	Name      string `json:"secret_name" maxLength:"253" pattern:"^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" title:"Name of the Secret" description:"A DNS subdomain name (RFC 1123). The default is the certificate's name, without the characters that a DNS name cannot contain."`
	Namespace string `json:"namespace" maxLength:"63" pattern:"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" title:"Namespace" description:"The namespace of the Secret, a DNS label (RFC 1123). The default is the current namespace of kubectl."`
}

type renderer struct{}

var _ sdk.Renderer = renderer{}

// Formats implements sdk.Renderer.
func (renderer) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "k8s-secret", Filename: "tls-secret.yaml", Aliases: []string{"kubernetes"},
		MediaType: "application/yaml", NeedsKey: true,
		Description:   "A Kubernetes Secret of type kubernetes.io/tls with the certificate, its intermediate certificates and the private key, not encrypted.",
		TypicalUse:    "Ingresses and gateways of a cluster without a certificate controller: kubectl apply -f tls-secret.yaml. Anyone who has the file can use the key.",
		OptionsSchema: sdk.OptionsSchema[options](),
		Targets: []sdk.Target{
			{ID: "kubernetes", Title: "Kubernetes", ImportCommand: `kubectl apply -f {file}`},
		},
	}}
}

// Render implements sdk.Renderer.
func (renderer) Render(_ context.Context, job sdk.Job) ([]byte, error) { return render(job) }

func main() { sdk.Serve(renderer{}) }

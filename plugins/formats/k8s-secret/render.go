package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/pem"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// secret has the fields of the API object (core/v1, Secret) that the manifest sets.
type secret struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Type       string   `yaml:"type"`
	// Data has values in base64, because the core schema of YAML 1.2 has no binary
	// type.
	Data map[string]string `yaml:"data"`
}

type metadata struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace,omitempty"`
}

// render writes the manifest with the full chain and the key, as kubectl create
// secret tls does. It checks that the two match, because the API server does not.
func render(job sdk.Job) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	leaf, _, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	if _, err := job.Key(leaf); err != nil {
		return nil, err
	}
	var chain []byte
	for _, der := range append([][]byte{job.Leaf}, job.Chain...) {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: job.PrivateKey})
	var file bytes.Buffer
	manifest := yaml.NewEncoder(&file)
	manifest.SetIndent(2)
	if err := manifest.Encode(secret{
		APIVersion: "v1", Kind: "Secret", Type: "kubernetes.io/tls",
		Metadata: metadata{cmp.Or(options.Name, job.SafeName()), options.Namespace},
		Data: map[string]string{
			"tls.crt": base64.StdEncoding.EncodeToString(chain),
			"tls.key": base64.StdEncoding.EncodeToString(key),
		},
	}); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return file.Bytes(), nil
}

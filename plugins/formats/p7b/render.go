package main

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"github.com/smallstep/pkcs7"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a SignedData that signs nothing. The certificates are a set,
// which DER would sort; like other tools, it keeps the leaf first, because some
// importers take them as they come, and none is known to insist on the sorting.
func render(job sdk.Job) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	if _, _, err := job.Certificates(); err != nil {
		return nil, err
	}
	bundle, err := pkcs7.DegenerateCertificate(bytes.Join(append([][]byte{job.Leaf}, job.Chain...), nil))
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	switch options.Encoding {
	case "pem":
		return pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: bundle}), nil
	case "der":
		return bundle, nil
	default:
		return nil, fmt.Errorf("there is no encoding %q here", options.Encoding)
	}
}

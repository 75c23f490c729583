package main

import (
	"bytes"
	"encoding/pem"
	"fmt"

	"github.com/smallstep/pkcs7"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a SignedData without signatures. The certificates are a SET, which
// DER sorts. Like other tools, render puts the leaf first instead, because some
// importers rely on that order and no importer is known to require a sorted SET.
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
		return nil, fmt.Errorf("encoding is %q; it must be pem or der", options.Encoding)
	}
}

package main

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes PEM blocks with LF line endings and nothing between the blocks (RFC
// 7468, sections 5 and 10).
func render(job sdk.Job) ([]byte, error) {
	switch job.Format {
	case "cert":
		return certificates(job.Leaf)
	case "chain":
		return certificates(job.Chain...)
	case "fullchain":
		return certificates(append([][]byte{job.Leaf}, job.Chain...)...)
	case "key":
		return privateKey(job)
	case "haproxy":
		return haproxy(job)
	default:
		return nil, fmt.Errorf("this plugin has no format %q", job.Format)
	}
}

// haproxy writes the certificate, the chain and the key, in the order in which
// HAProxy's configuration manual describes the crt file.
func haproxy(job sdk.Job) ([]byte, error) {
	file, err := certificates(append([][]byte{job.Leaf}, job.Chain...)...)
	if err != nil {
		return nil, err
	}
	key, err := privateKey(job)
	if err != nil {
		return nil, err
	}
	return append(file, key...), nil
}

// privateKey writes the key. It refuses a key that does not match the certificate,
// because a server does not start with such a pair.
func privateKey(job sdk.Job) ([]byte, error) {
	leaf, _, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	if _, err := job.Key(leaf); err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: job.PrivateKey}), nil
}

func certificates(ders ...[]byte) ([]byte, error) {
	var file bytes.Buffer
	for _, der := range ders {
		if len(der) == 0 {
			return nil, errors.New("a certificate in the job is empty")
		}
		if err := pem.Encode(&file, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return nil, fmt.Errorf("encode certificate: %w", err)
		}
	}
	if file.Len() == 0 {
		return nil, errors.New("the job has no certificate for this format")
	}
	return file.Bytes(), nil
}

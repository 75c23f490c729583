package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a bundle: AES-256 with PBKDF2 and SHA-256, or 3DES with SHA-1
// under options.legacy. Salts come from random.
func render(job sdk.Job, random io.Reader) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	if job.Passphrase == "" {
		return nil, errors.New("there is no passphrase")
	}
	leaf, chain, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	key, err := job.Key(leaf)
	if err != nil {
		return nil, err
	}
	profile := modern
	if options.Legacy {
		profile = legacy
	}
	bundle, err := profile.encoder.WithRand(random).Encode(key, leaf, chain, job.Passphrase)
	if err == nil && options.Alias != "" {
		bundle, err = profile.withAlias(bundle, options.Alias, job.Passphrase)
	}
	if err != nil {
		return nil, fmt.Errorf("encode bundle: %w", err)
	}
	return bundle, nil
}

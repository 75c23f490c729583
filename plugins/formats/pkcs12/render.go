package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render writes a bundle that is encrypted with AES-256, PBKDF2 and SHA-256, or with
// 3DES and SHA-1 if options.legacy is set. It reads salts from random.
func render(job sdk.Job, random io.Reader) ([]byte, error) {
	options, err := sdk.Options[options](job)
	if err != nil {
		return nil, err
	}
	if job.Passphrase == "" {
		return nil, errors.New("the passphrase is missing; give one")
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

package main

import (
	"fmt"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render hands out what came in, once it is known to be what it should be.
func render(job sdk.Job) ([]byte, error) {
	leaf, _, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	switch job.Format {
	case "der":
		return job.Leaf, nil
	case "der-key":
		if _, err := job.Key(leaf); err != nil {
			return nil, err
		}
		return job.PrivateKey, nil
	default:
		return nil, fmt.Errorf("there is no format %q here", job.Format)
	}
}

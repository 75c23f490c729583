package main

import (
	"fmt"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// render returns the job's own bytes, which are DER already, after it has checked
// them: importers report a broken file or a wrong key much later.
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
		return nil, fmt.Errorf("this plugin has no format %q", job.Format)
	}
}

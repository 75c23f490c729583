// Command dynamic is a plugin that is dynamically linked against the system's C library.
package main

import "C"

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

func main() { sdk.Serve(plugin{}) }

type plugin struct{}

func (plugin) Formats() []sdk.Format {
	return []sdk.Format{{ID: "dynamic", Filename: "dynamic.out", MediaType: "application/octet-stream"}}
}

func (plugin) Render(context.Context, sdk.Job) ([]byte, error) { return []byte("dynamic"), nil }

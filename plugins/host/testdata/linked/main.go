// Command linked is a plugin that is linked against the system's C library.
package main

import "C"

import (
	"context"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

func main() { sdk.Serve(plugin{}) }

type plugin struct{}

func (plugin) Formats() []sdk.Format {
	return []sdk.Format{{ID: "linked", Filename: "linked.out", MediaType: "application/octet-stream"}}
}

func (plugin) Render(context.Context, sdk.Job) ([]byte, error) { return []byte("linked"), nil }

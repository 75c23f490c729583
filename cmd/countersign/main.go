// Command countersign serves certificates and private keys by request, under
// policy, once, and is its own client.
//
// Start with [openSystem], which wires a server, and [rootCommand], which lists
// the commands. Exit codes: 0 done, 1 failed, 2 used wrongly, 3 refused by the
// server (the request was understood and denied), 4 the server could not be
// reached or failed itself, 5 the download waits for approval, 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

// The exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnreachable = 4
	exitWaits       = 5
	exitInterrupted = 130
)

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	if err := rootCommand().ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(exitCode(err))
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "countersign",
		Short:         "Hands out certificates and private keys: on request, under policy, once, on record",
		Long:          rootHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(devCommand(), serveCommand(), pluginCommand())
	root.AddCommand(clientCommands()...)
	strict(root)
	return root
}

func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	return exitOfCall(err)
}

// Command countersign is the server that hands out certificates and private keys
// by request, under policy, once; and the client that calls it.
//
// Start with [openSystem], which wires a server, and [rootCommand], which lists
// the commands. Each command is in the file of its concept.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // the image has no time zones of its own

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/client"
)

// version is set by the build.
var version = "dev"

// The exit codes. rootHelp documents them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitUnreachable = 4
	exitPending     = 5
	exitInterrupted = 130
)

const rootHelp = `Countersign hands out certificates and private keys: on request, under policy,
after approval, once, and recorded in an audit log.

The client commands find the server by --server or COUNTERSIGN_SERVER, the
project by --project or COUNTERSIGN_PROJECT, and the API key in the file named
by --api-key-file or in COUNTERSIGN_API_KEY. With -o json they print the API's
JSON, also when the server refuses.

Exit codes:
  0    done
  1    failed
  2    called with wrong arguments
  3    refused by the server: the request was understood and denied
  4    the server could not be reached, or failed
  5    the download waits for approval
  130  interrupted`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "countersign:", err)
		os.Exit(exitCode(err))
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "countersign",
		Short:         "Hands out certificates and private keys: on request, under policy, after approval, once, and recorded in an audit log",
		Long:          rootHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		devCommand(), serveCommand(), bootstrapCommand(), statusCommand(), migrateCommand(), backupCommand(), restoreCommand(), keysCommand(),
		pluginCommand(), userCommand(), sessionCommand(), projectCommand(), meCommand(), manCommand(),
	)
	root.AddCommand(clientCommands()...)
	reportUsageErrors(root)
	return root
}

// clientCommands are the commands that call a server, and version.
func clientCommands() []*cobra.Command {
	o := &clientOptions{output: "text"}
	commands := []*cobra.Command{
		downloadCommand(o), formatsCommand(o), requestsCommand(o), approvalsCommand(o), certCommand(o), policyCommand(o), auditCommand(o),
		memberCommand(o), apiKeyCommand(o), targetCommand(o),
	}
	for _, cmd := range commands {
		o.addFlags(cmd.PersistentFlags())
	}
	return append(commands, versionCommand(o))
}

func versionCommand(o *clientOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version of this program", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printerOf(cmd, o.output).show(struct {
				Version string `json:"version"`
			}{version}, []string{"countersign " + version})
		},
	}
	o.addOutput(cmd.Flags())
	return cmd
}

// usageError is a mistake in how the command was called.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// reportUsageErrors makes every wrong argument of a command and its subcommands a
// usageError. Without it, cobra returns wrong arguments like any other error, and
// prints the help for an unknown subcommand as if it were requested.
func reportUsageErrors(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		reportUsageErrors(sub)
	}
	if cmd.RunE == nil {
		cmd.SuggestionsMinimumDistance = 2 // cobra's own default, which it sets too late
		cmd.Args = knownSubcommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	checkArgs := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var err error
		if checkArgs != nil {
			err = checkArgs(cmd, args)
		}
		if err == nil {
			err = cmd.ValidateRequiredFlags()
		}
		if err == nil {
			err = cmd.ValidateFlagGroups()
		}
		if err != nil {
			return usageError{err}
		}
		return nil
	}
}

// knownSubcommand refuses arguments of a command that only has subcommands.
func knownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%s has no command %q; did you mean %s?", cmd.CommandPath(), args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("%s has no command %q; see %[1]s --help", cmd.CommandPath(), args[0])
}

// exitCode is the exit code for an error of any command. An answer without a
// problem code does not come from Countersign, so Countersign was not reached.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errInterrupted) {
		return exitInterrupted
	}
	if _, ok := errors.AsType[pendingError](err); ok {
		return exitPending
	}
	if problem, ok := errors.AsType[*client.Problem](err); ok {
		if problem.Code == "" || problem.Status >= http.StatusInternalServerError {
			return exitUnreachable
		}
		return exitRefused
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return exitUnreachable
	}
	return exitFailed
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/plugins/conformance"
	"github.com/countersign-dev/countersign/plugins/host"
)

// The secrets that a plugin can be granted.
const (
	grantKey        = "key"
	grantPassphrase = "passphrase"
)

// checkGrants refuses what nobody can be granted.
func checkGrants(grants []string) error {
	for _, grant := range grants {
		if grant != grantKey && grant != grantPassphrase {
			return usageError{fmt.Errorf("--grant takes %s and %s, not %q", grantKey, grantPassphrase, grant)}
		}
	}
	return nil
}

// sandboxFlag says whether a binary is run that this system cannot confine whole.
// Nobody knows what is in it, and it runs as the user who types the command.
type sandboxFlag string

// Set implements pflag.Value.
func (f *sandboxFlag) Set(mode string) error {
	if mode != host.SandboxBestEffort && mode != host.SandboxRequire {
		return fmt.Errorf("it is %s or %s", host.SandboxRequire, host.SandboxBestEffort)
	}
	*f = sandboxFlag(mode)
	return nil
}

func (f *sandboxFlag) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *sandboxFlag) Type() string { return "mode" }

func (f *sandboxFlag) add(flags *pflag.FlagSet) {
	*f = host.SandboxRequire
	flags.Var(f, "sandbox", "whether to run what this system cannot confine whole: require (no) or best_effort (yes)")
}

// unconfined tells how to run nevertheless what was not run for want of a sandbox.
func unconfined(err error) error {
	if errors.Is(err, host.ErrUnconfined) {
		return fmt.Errorf("%w; if you trust it, --sandbox %s runs it nevertheless", err, host.SandboxBestEffort)
	}
	return err
}

// pluginTestCommand runs the conformance suite.
func pluginTestCommand() *cobra.Command {
	var o conformance.Options
	form := outputForm("text")
	grants := []string{grantKey, grantPassphrase}
	var sandbox sandboxFlag
	cmd := &cobra.Command{
		Use:   "test BINARY",
		Short: "Try a plugin, whoever wrote it, as a server would run it",
		Long: "Start a plugin confined, as a server would, and check with throwaway keys that it keeps\n" +
			"what servers and users rely on. It exits with 0 if no check failed, else with 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGrants(grants); err != nil {
				return err
			}
			if o.Deadline <= 0 {
				return usageError{errors.New("--deadline must be more than nothing")}
			}
			o.Sandbox = sandbox.String()
			o.Binary, o.Key, o.Passphrase = args[0], slices.Contains(grants, grantKey), slices.Contains(grants, grantPassphrase)
			return tryPlugin(cmd.Context(), printerOf(cmd, form), o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&grants, "grant", grants, "what formats get that ask for it; those that do not get theirs are skipped")
	flags.StringVar(&o.Format, "format", "", "the only format to try, by id (default: all)")
	flags.DurationVar(&o.Deadline, "deadline", host.DefaultDeadline, "how long one render may take")
	sandbox.add(flags)
	flags.VarP(&form, "output", "o", "how to print: text or json")
	return cmd
}

func tryPlugin(ctx context.Context, p printer, o conformance.Options) error {
	report, err := conformance.Run(ctx, o)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return cleanError{unconfined(err)}
	}
	rows, failed := [][]string{{"CHECK", "FORMAT", "OUTCOME", "DETAIL"}}, 0
	for _, r := range report.Results {
		rows = append(rows, []string{r.Check, r.Format, r.Outcome, r.Detail})
		if r.Outcome == conformance.Fail {
			failed++
		}
	}
	if err := p.show(report, rows...); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(report.Results))
	}
	return nil
}

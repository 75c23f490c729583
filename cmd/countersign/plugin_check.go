package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/countersign-dev/countersign/plugins/conformance"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sandbox"
)

// The secrets that a plugin can be granted.
const (
	grantKey        = "key"
	grantPassphrase = "passphrase"
)

// checkGrants refuses secrets that do not exist.
func checkGrants(grants []string) error {
	for _, grant := range grants {
		if grant != grantKey && grant != grantPassphrase {
			return usageError{fmt.Errorf("--grant accepts %s and %s, not %q", grantKey, grantPassphrase, grant)}
		}
	}
	return nil
}

// sandboxFlag says whether to run a binary that this system cannot fully confine. The
// binary is unknown, and runs as the user who types the command.
type sandboxFlag string

// Set implements pflag.Value.
func (f *sandboxFlag) Set(mode string) error {
	if mode != sandbox.ModeBestEffort && mode != sandbox.ModeRequire {
		return fmt.Errorf("it must be %s or %s", sandbox.ModeRequire, sandbox.ModeBestEffort)
	}
	*f = sandboxFlag(mode)
	return nil
}

func (f *sandboxFlag) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *sandboxFlag) Type() string { return "mode" }

func (f *sandboxFlag) add(flags *pflag.FlagSet) {
	*f = sandbox.ModeRequire
	flags.Var(f, "sandbox", "whether to run a plugin that this system cannot fully confine: require (no) or best_effort (yes)")
}

// unconfined adds to an error of the sandbox how to run the plugin nevertheless.
func unconfined(err error) error {
	if errors.Is(err, sandbox.ErrUnconfined) {
		return fmt.Errorf("%w; if you trust it, run it with --sandbox %s", err, sandbox.ModeBestEffort)
	}
	return err
}

// pluginTestCommand runs the conformance suite.
func pluginTestCommand() *cobra.Command {
	var o conformance.Options
	form := outputForm("text")
	grants := []string{grantKey, grantPassphrase}
	var mode sandboxFlag
	cmd := &cobra.Command{
		Use:   "test BINARY",
		Short: "Check a plugin, of any author, as a server would run it",
		Long: "Start a plugin in the sandbox, as a server would, and check with throwaway keys the rules\n" +
			"that servers and users rely on. The exit code is 0 if no check failed, else 1.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGrants(grants); err != nil {
				return err
			}
			if o.Deadline <= 0 {
				return usageError{errors.New("--deadline must be more than 0")}
			}
			o.Sandbox = mode.String()
			o.Binary, o.Key, o.Passphrase = args[0], slices.Contains(grants, grantKey), slices.Contains(grants, grantPassphrase)
			return tryPlugin(cmd.Context(), printerOf(cmd, form), o)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&grants, "grant", grants, "secrets that formats receive if they need them; formats without a secret that they need are skipped")
	flags.StringVar(&o.Format, "format", "", "id of the only format to check (default: all)")
	flags.DurationVar(&o.Deadline, "deadline", runtime.DefaultDeadline, "how long one render may take")
	mode.add(flags)
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

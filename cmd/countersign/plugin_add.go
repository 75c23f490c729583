package main

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/host"
)

// pluginAddition is the answer of plugin add.
type pluginAddition struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	SHA256  string           `json:"sha256"`
	Path    string           `json:"path"` // empty unless it was added
	Formats []declaredFormat `json:"formats"`
	Sandbox wire.Sandbox     `json:"sandbox"`
}

// declaredFormat is what a plugin says of a format.
type declaredFormat struct {
	ID        string   `json:"id"`
	Filename  string   `json:"filename"`
	MediaType string   `json:"media_type"`
	Needs     []string `json:"needs"`
	Includes  []string `json:"includes"`
}

func pluginAddCommand() *cobra.Command {
	var catalogue string
	var a host.Addition
	var grants []string
	var sandbox sandboxFlag
	form := outputForm("text")
	cmd := &cobra.Command{
		Use:   "add BINARY --catalogue FILE",
		Short: "List a plugin in a catalogue, so that servers run it",
		Long: "Start a plugin confined and show what it declares, then copy it beside the catalogue and\n" +
			"list it there by its SHA-256, in place of one that was added under its name before. It\n" +
			"gets the private key and the passphrase only by --grant. Then: countersign plugin reload.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGrants(grants); err != nil {
				return err
			}
			if cmd.Flags().Changed("projects") && len(a.Projects) == 0 {
				return usageError{errors.New("--projects names no project")}
			}
			a.Key, a.Passphrase = slices.Contains(grants, grantKey), slices.Contains(grants, grantPassphrase)
			a.Name = firstOf(a.Name, strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0])))
			err := addPlugin(cmd.Context(), printerOf(cmd, form), args[0], sandbox.String(), catalogue, a)
			if err != nil && cmd.Context().Err() != nil {
				return errInterrupted
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&catalogue, "catalogue", "", "catalogue file that is to list it")
	flags.StringVar(&a.Name, "name", "", "what to call it (default: the name of its file)")
	flags.StringSliceVar(&grants, "grant", nil, "what its formats get that ask for it: key, passphrase")
	flags.StringSliceVar(&a.Projects, "projects", nil, "ids of the projects that get its formats (default: those that the one before had, else all)")
	sandbox.add(flags)
	flags.VarP(&form, "output", "o", "how to print: text or json")
	markRequired(cmd, "catalogue")
	return cmd
}

func addPlugin(ctx context.Context, p printer, binary, sandbox, catalogue string, a host.Addition) error {
	trial, err := host.Try(ctx, binary, sandbox, nil)
	if err != nil {
		return cleanError{unconfined(err)}
	}
	defer func() { _ = trial.Close() }() // what is left of it lies in the system's temporary folder
	path, refused := trial.Add(catalogue, a)
	added := pluginAddition{Name: a.Name, Version: trial.Version(), SHA256: trial.SHA256, Path: path, Sandbox: wire.Sandbox(trial.Sandbox())}
	rows := [][]string{{"FORMAT", "FILE", "MEDIA TYPE", "NEEDS", "INCLUDES"}}
	for _, f := range trial.Formats() {
		d := declaredFormat{f.GetId(), f.GetFilename(), f.GetMediaType(), []string{}, f.GetIncludes()}
		for _, need := range []struct {
			name string
			has  bool
		}{{grantKey, f.GetNeedsKey()}, {grantPassphrase, f.GetNeedsPassphrase()}, {"chain", f.GetNeedsChain()}} {
			if need.has {
				d.Needs = append(d.Needs, need.name)
			}
		}
		added.Formats = append(added.Formats, d)
		rows = append(rows, []string{d.ID, d.Filename, d.MediaType, strings.Join(d.Needs, ", "), strings.Join(d.Includes, ", ")})
	}
	if err := p.show(added, rows...); err != nil {
		return err
	}
	for _, missing := range added.Sandbox.Missing {
		p.warn("it is not confined whole: %s", missing)
	}
	if errors.Is(refused, engine.CodeInvalidRequest) {
		return usageError{cleanError{refused}}
	}
	return refused
}

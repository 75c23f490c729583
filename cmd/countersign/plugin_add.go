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
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// pluginAddition is the output of plugin add.
type pluginAddition struct {
	Name    string           `json:"name"`
	Version string           `json:"version"`
	SHA256  string           `json:"sha256"`
	Path    string           `json:"path"` // of the copy; empty if the plugin was not added
	Formats []declaredFormat `json:"formats"`
	Sandbox wire.Sandbox     `json:"sandbox"`
}

// declaredFormat is what a plugin declares about a format.
type declaredFormat struct {
	ID        string   `json:"id"`
	Filename  string   `json:"filename"`
	MediaType string   `json:"media_type"`
	Needs     []string `json:"needs"`
	Includes  []string `json:"includes"`
}

func pluginAddCommand() *cobra.Command {
	var file string
	var a catalogue.Addition
	var grants []string
	var sandbox sandboxFlag
	form := outputForm("text")
	cmd := &cobra.Command{
		Use:   "add BINARY --catalogue FILE",
		Short: "List a plugin in a catalogue, so that servers run it",
		Long: "Start a plugin in the sandbox and show what it declares. Then copy it into the folder of\n" +
			"the catalogue and list it there by its SHA-256, in place of a plugin that was added under\n" +
			"its name before. It receives the private key and the passphrase only with --grant. Next:\n" +
			"countersign plugin reload.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkGrants(grants); err != nil {
				return err
			}
			if cmd.Flags().Changed("projects") && len(a.Projects) == 0 {
				return usageError{errors.New("--projects is empty; give project ids, or leave it out")}
			}
			a.Key, a.Passphrase = slices.Contains(grants, grantKey), slices.Contains(grants, grantPassphrase)
			a.Name = firstOf(a.Name, strings.TrimSuffix(filepath.Base(args[0]), filepath.Ext(args[0])))
			err := addPlugin(cmd.Context(), printerOf(cmd, form), args[0], sandbox.String(), file, a)
			if err != nil && cmd.Context().Err() != nil {
				return errInterrupted
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "catalogue", "", "catalogue file that will list it")
	flags.StringVar(&a.Name, "name", "", "name of the plugin (default: the name of its file)")
	flags.StringSliceVar(&grants, "grant", nil, "secrets that its formats receive if they need them: key, passphrase")
	flags.StringSliceVar(&a.Projects, "projects", nil, "ids of the projects that get its formats (default: those of the previous version, else all)")
	sandbox.add(flags)
	flags.VarP(&form, "output", "o", "how to print: text or json")
	markRequired(cmd, "catalogue")
	return cmd
}

func addPlugin(ctx context.Context, p printer, binary, sandbox, file string, a catalogue.Addition) error {
	trial, err := runtime.Try(ctx, binary, sandbox, nil)
	if err != nil {
		return cleanError{unconfined(err)}
	}
	defer func() { _ = trial.Close() }() // a folder that could not be removed is in the system's temporary folder
	path, refused := catalogue.Add(file, trial.Candidate(), a)
	added := pluginAddition{Name: a.Name, Version: trial.Version(), SHA256: trial.SHA256, Path: path, Sandbox: wire.Sandbox(trial.Sandbox())}
	rows := [][]string{{"FORMAT", "FILE", "MEDIA TYPE", "NEEDS", "INCLUDES"}}
	for _, f := range trial.Description().GetFormats() {
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
		p.warn("the plugin is not fully confined: %s", missing)
	}
	if errors.Is(refused, engine.CodeInvalidRequest) {
		return usageError{cleanError{refused}}
	}
	return refused
}

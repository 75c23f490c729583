package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/plugins/catalogue"
)

func pluginCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "plugin", Short: "Work with format plugins"}
	o := &clientOptions{output: "text", serverWide: true}
	calls := []*cobra.Command{pluginListCommand(o), pluginReloadCommand(o)}
	for _, call := range calls {
		o.addFlags(call.Flags())
	}
	cmd.AddCommand(calls...)
	cmd.AddCommand(pluginInitCommand(), pluginTestCommand(), pluginAddCommand(), pluginHashCommand())
	return cmd
}

// pluginHashCommand prints checksums, or writes a catalogue that contains them.
func pluginHashCommand() *cobra.Command {
	var source, dir string
	cmd := &cobra.Command{
		Use:   "hash [BINARY ...]",
		Short: "Print the SHA-256 of plugin binaries, or write a catalogue with them",
		Long: "Print the SHA-256 of plugin binaries as a catalogue lists them. With --source and --dir,\n" +
			"write the catalogue DIR/catalogue.json from the one at SOURCE and the binaries in DIR.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case source != "" && dir != "" && len(args) == 0:
				return catalogue.Write(source, dir)
			case source != "" || dir != "" || len(args) == 0:
				return usageError{errors.New("give binaries, or both --source and --dir")}
			}
			for _, path := range args {
				sum, err := catalogue.Checksum(path)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", sum, path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "catalogue without checksums")
	cmd.Flags().StringVar(&dir, "dir", "", "folder with the binaries, which gets the catalogue")
	return cmd
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/plugins"
)

func pluginInitCommand() *cobra.Command {
	form := outputForm("text")
	cmd := &cobra.Command{
		Use:   "init NAME",
		Short: "Write a new plugin into the folder NAME",
		Long: "Write a new plugin into the folder NAME: a Go module with a working format, a test and a\n" +
			"Makefile. The SDK is included. make builds it and runs the test.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := plugins.Scaffold(".", args[0])
			if err != nil {
				return cleanError{err}
			}
			return printerOf(cmd, form).show(struct {
				Folder string `json:"folder"`
			}{folder}, []string{"Wrote " + folder + ". Next: cd " + folder + " && make"})
		},
	}
	cmd.Flags().VarP(&form, "output", "o", "how to print: text or json")
	return cmd
}

package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the man pages that packages install. Its date comes from
// SOURCE_DATE_EPOCH, so that a build can be repeated.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write the man pages of all commands into a folder", Args: cobra.ExactArgs(1), Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // everybody may read man pages
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true // the tag has the date of the day
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Countersign " + version, Manual: "Countersign"}, args[0])
		},
	}
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/engine"
)

// bootstrapCommand is for containers, which have no other program that could read or
// delete the file.
func bootstrapCommand() *cobra.Command {
	var file string
	var del bool
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print the bootstrap file of a new installation, on its machine or in its container",
		Long: "Print the file that the setting bootstrap names. It has the first administrator's password and API\n" +
			"keys. With --delete, delete it instead, when the password is changed.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			if config.Bootstrap == "" {
				return usageError{errors.New("the setting bootstrap names no file; give --config, --bootstrap or COUNTERSIGN_BOOTSTRAP as the server has it")}
			}
			if del {
				return os.Remove(config.Bootstrap)
			}
			text, err := engine.ReadSecretFile(config.Bootstrap)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w: the server has not started yet (its log says why), or the file was deleted", err)
			}
			if err != nil {
				return fmt.Errorf("read bootstrap file: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	cmd.Flags().BoolVar(&del, "delete", false, "delete the file instead")
	addFlags(cmd.Flags(), "bootstrap")
	return cmd
}

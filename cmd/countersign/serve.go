package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func serveCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve in production",
		Long: "Serve in production. Without a Temporal address, Temporal runs embedded in this process;\n" +
			"without a MongoDB URI, everything is stored in SQLite in the data folder.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			return runServer(cmd, config, (*system).bootstrapServe)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	addFlags(cmd.Flags())
	return cmd
}

// runServer opens a system, fills it by bootstrap, and serves until the command's
// context ends. bootstrap gets the URL of the server.
func runServer(cmd *cobra.Command, config Config, bootstrap func(s *system, ctx context.Context, url string) error) error {
	unix.Umask(0o077) // only the server's user may read the files that it makes
	log, err := newLogger(cmd.ErrOrStderr(), config.Log)
	if err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s, err := openSystem(ctx, config, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := bootstrap(s, ctx, s.url(listener)); err != nil {
		return errors.Join(err, listener.Close(), s.close(context.WithoutCancel(ctx)))
	}
	log.Info("serving", "url", s.url(listener), "version", version, "data", config.Data)
	return s.serve(ctx, listener)
}

func newLogger(w io.Writer, c LogConfig) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level is %q; it must be debug, info, warn or error", c.Level)
	}
	options := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log.format is %q; it must be text or json", c.Format)
}

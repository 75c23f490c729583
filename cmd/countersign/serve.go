package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func serveCommand() *cobra.Command {
	var file string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve in production",
		Long: "Serve in production. Without a Temporal address, Temporal runs embedded in this process;\n" +
			"without a MongoDB URI, everything is stored in SQLite in the data folder.\n\n" +
			"--check changes nothing and says all that would keep the server from starting: settings, files, taken\n" +
			"addresses, and services that do not answer. If it finds something, the exit code is 2.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return checkStart(cmd, file)
			}
			config, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			signal.Ignore(syscall.SIGHUP) // a service has no terminal whose end could end it
			listenAdmin := func() (net.Listener, error) { return listen(cmd.Context(), config.ListenAdmin) }
			return runServer(cmd, config, listenAdmin, (*system).bootstrapServe)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML)")
	cmd.Flags().BoolVar(&check, "check", false, "check the configuration, and start nothing")
	addFlags(cmd.Flags())
	addAccepted(cmd)
	return cmd
}

// addAccepted defines the flags that are no settings, because they are for one start.
func addAccepted(cmd *cobra.Command) {
	cmd.Flags().Bool("accept-temporal", false, "for one start: start although the requests of this database ran in another Temporal, or this one was emptied; gives every request that has not ended a new workflow")
	cmd.Flags().Bool("accept-restore", false, "for one start: start on a database that was restored from a backup on purpose, also if it is older than the anchor of its audit log; revokes every unused token, and ends every request that waits or could be claimed")
}

// listen listens on an address, unless it is empty.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

// runServer opens a system, fills it by bootstrap, and serves until the command's
// context ends. listenAdmin opens the listener for operators, or none. bootstrap gets
// the URL of the server.
func runServer(cmd *cobra.Command, config Config, listenAdmin func() (net.Listener, error), bootstrap func(s *system, ctx context.Context, url string) error) error {
	unix.Umask(0o077) // only the server's user may read the files that it makes
	// No core file, which would have keys; 0 would not stop one that is piped to a program
	// (core(5)). If the limit is lower already, this fails.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
	// Without a handler, a log whose reader has gone would end the process. A handler is
	// not inherited by plugins, unlike a signal that is ignored.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	log, err := newLogger(cmd.ErrOrStderr(), config.Log)
	if err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	secure, err := config.TLS.open(log)
	if err != nil {
		return err
	}
	var l listeners
	if l.public, err = listen(ctx, config.Listen); err == nil && l.public == nil {
		err = usageError{errors.New("listen is empty; give an address such as 127.0.0.1:8080")}
	}
	if err == nil {
		l.admin, err = listenAdmin()
	}
	if err == nil {
		l.redirect, err = listen(ctx, config.TLS.RedirectListen)
	}
	var s *system
	if err == nil {
		var accept accepted
		accept.restore, _ = cmd.Flags().GetBool("accept-restore") // both commands define these
		accept.temporal, _ = cmd.Flags().GetBool("accept-temporal")
		s, err = openSystem(ctx, config, accept, log)
	}
	if err != nil {
		return errors.Join(err, l.close())
	}
	if secure != nil {
		s.secure = secure
		err = s.metrics.Register(secure)
	}
	if err == nil {
		err = bootstrap(s, ctx, s.url(l.public))
	}
	if err != nil {
		return errors.Join(err, l.close(), s.close(context.WithoutCancel(ctx)))
	}
	log.Info("serving", "url", s.url(l.public), "operators", l.adminURL(), "version", version, "data", config.Data)
	if l.redirect != nil {
		log.Info("redirecting pages to HTTPS", "from", "http://"+l.redirect.Addr().String())
	}
	return s.serve(ctx, l)
}

// listeners are where a server is called. There may be none for operators, and none that
// redirects to HTTPS.
type listeners struct{ public, admin, redirect net.Listener }

func (l listeners) adminURL() string {
	if l.admin == nil {
		return ""
	}
	return "http://" + l.admin.Addr().String()
}

func (l listeners) close() error {
	var errs []error
	for _, listener := range []net.Listener{l.public, l.admin, l.redirect} {
		if listener != nil {
			errs = append(errs, listener.Close())
		}
	}
	return errors.Join(errs...)
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

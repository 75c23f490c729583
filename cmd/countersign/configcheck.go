package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.temporal.io/api/serviceerror"
	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/api"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/policies"
)

// wrong lists what the settings alone tell to be wrong.
func (c *Config) wrong() (errs []error) {
	refuse := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	refuse(c.Drain < 0 || c.Wait < 0, "drain and wait must not be negative")
	refuse(c.Anchor.Interval < time.Second, "anchor.interval must be at least 1s")
	refuse((c.Temporal.CertFile == "") != (c.Temporal.KeyFile == ""), "temporal.cert_file and temporal.key_file belong together; give both or neither")
	refuse(c.MongoDB.UsernameFile != "" && c.MongoDB.PasswordFile == "", "mongodb.username_file needs mongodb.password_file")
	refuse(c.Sandbox.Mode != sandbox.ModeBestEffort && c.Sandbox.Mode != sandbox.ModeRequire,
		fmt.Sprintf("sandbox.mode must be %s or %s", sandbox.ModeBestEffort, sandbox.ModeRequire))
	refuse(c.Sessions.Idle < time.Second || c.Sessions.Life < c.Sessions.Idle, "sessions.idle must be at least 1s, and sessions.life at least sessions.idle")
	limits := map[string]int{
		"unknown_tokens": c.Limits.UnknownTokens, "connections": c.Limits.Connections, "connections_per_address": c.Limits.ConnectionsPerAddress,
		"live_tokens": c.Limits.LiveTokens, "waiting_requests": c.Limits.WaitingRequests,
		"mints": c.Limits.Mints, "redemptions": c.Limits.Redemptions, "calls": c.Limits.Calls,
	}
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		refuse(limits[name] < 1, "limits."+name+" must be at least 1")
	}
	refuse(c.Traces.Endpoint == "" && (c.Traces.HeadersFile != "" || c.Traces.CAFile != ""), "traces.headers_file and traces.ca_file need traces.otlp_endpoint")
	refuse(!(c.Traces.Sample > 0 && c.Traces.Sample <= 1), "traces.sample must be above 0 and at most 1")
	for _, err := range []error{
		api.CheckPublicURL(c.PublicURL, c.TLS.CertFile != ""), api.CheckTrustedProxies(c.TrustedProxies), c.TLS.check(c.PublicURL), c.Retention.ages().Check(), c.Audit.check(),
	} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// checkWithin limits how long each service may take to answer a check.
const checkWithin = 5 * time.Second

// checkStart says all that would keep a server with this configuration from starting. It
// makes and changes nothing.
func checkStart(cmd *cobra.Command, file string) error {
	c, err := readConfig(file, cmd.Flags())
	if err != nil {
		return usageError{fmt.Errorf("read configuration: %w", err)}
	}
	errs := c.wrong()
	if _, err := newLogger(cmd.ErrOrStderr(), c.Log); err != nil {
		errs = append(errs, err)
	}
	for _, check := range []func(context.Context) error{
		c.checkListeners, c.checkTLS, c.checkData, c.checkPlugins, c.checkPolicies, c.checkKeeper, c.checkAnchors, c.checkAudit, c.checkMongoDB, c.checkTemporal, c.checkTraces,
	} {
		ctx, cancel := context.WithTimeout(cmd.Context(), checkWithin)
		if err := check(ctx); err != nil {
			errs = append(errs, err)
		}
		cancel()
	}
	if len(errs) > 0 {
		return usageError{errors.Join(errs...)}
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "A server can start with this configuration.")
	return err
}

func (c *Config) checkListeners(ctx context.Context) error {
	var errs []error
	if c.Listen == "" {
		errs = append(errs, errors.New("listen is empty; give an address such as 127.0.0.1:8080"))
	}
	for _, s := range []struct{ setting, address string }{{"listen", c.Listen}, {"listen_admin", c.ListenAdmin}, {"tls.redirect_listen", c.TLS.RedirectListen}} {
		l, err := listen(ctx, s.address)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.setting, err))
		}
		if l != nil {
			defer func() { _ = l.Close() }() // at the end, so that two settings with one address are found
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkTLS(context.Context) error {
	if c.TLS.CertFile == "" || c.TLS.KeyFile == "" {
		return nil
	}
	return (&servedTLS{settings: c.TLS, log: slog.New(slog.DiscardHandler)}).load()
}

// checkData looks for what keeps the server from writing to the data folder: the nearest
// folder that exists must be one that it may write.
func (c *Config) checkData(context.Context) error {
	for folder := c.Data; ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("look for the data folder: %w", err)
		case !info.IsDir():
			return fmt.Errorf("the data folder %s cannot be made: %s is not a folder", c.Data, folder)
		}
		if err := unix.Access(folder, unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("the data folder %s cannot be written: %s: %w", c.Data, folder, err)
		}
		return nil
	}
}

func (c *Config) checkPlugins(context.Context) error {
	listed, err := catalogue.Read(c.Plugins)
	if err != nil {
		return err
	}
	errs := []error{listed.CheckAccess(c.Plugins)}
	for _, e := range listed.Plugins {
		path, want, err := e.Binary(filepath.Dir(c.Plugins))
		got := ""
		if err == nil {
			got, err = catalogue.Checksum(path)
		}
		if err == nil && got != fmt.Sprintf("%x", want) {
			err = errors.New("its binary has another SHA-256 than the catalogue says; build it again, or run countersign plugin hash")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("plugin %s: %w", e.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkPolicies(ctx context.Context) error {
	rules, err := policies.Open(ctx, policies.Options{Dir: c.Policies.Dir, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err == nil {
		rules.Close()
	}
	return err
}

// checkKeeper has the keeper seal something that nobody keeps. A local key file that is
// missing is made at the first start.
func (c *Config) checkKeeper(ctx context.Context) error {
	sealer, err := keys.Open(ctx, keys.Options{
		Keeper: c.Keeper.URL, Previous: c.Keeper.Previous, KeyFile: c.Keeper.File, InUse: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		if _, used := os.Stat(databaseIn(c.Data)); c.Keeper.URL == "" && errors.Is(err, fs.ErrNotExist) && (c.MongoDB.URI != "" || used != nil) {
			return nil
		}
		return err
	}
	defer func() { _ = sealer.Close() }() // nothing was written
	if _, err := sealer.Seal(ctx, "check", make([]byte, 32)); err != nil {
		return fmt.Errorf("keeper.url: %w", err)
	}
	return nil
}

func (c *Config) checkAnchors(ctx context.Context) error {
	target, err := anchor.Open(ctx, c.Anchor.URL, os.Getenv("COUNTERSIGN_ANCHOR_TOKEN"))
	if err == nil {
		_, err = target.ReadAnchor(ctx)
		_ = target.Close() // nothing was written
	}
	if errors.Is(err, engine.CodeNotFound) {
		err = nil
	} else if err != nil {
		err = fmt.Errorf("anchor.url: %w", err)
	}
	if c.Retention.Archive == "" {
		return err
	}
	archive, failed := anchor.OpenArchive(ctx, c.Retention.Archive, os.Getenv("COUNTERSIGN_ARCHIVE_TOKEN"))
	if failed == nil {
		_ = archive.Close() // nothing was written
	}
	return errors.Join(err, failed)
}

func (c *Config) checkMongoDB(ctx context.Context) error {
	switch {
	case c.MongoDB.URI != "":
		if err := mongo.Check(ctx, c.MongoDB.URI, mongo.Credential{UsernameFile: c.MongoDB.UsernameFile, PasswordFile: c.MongoDB.PasswordFile}); err != nil {
			return fmt.Errorf("mongodb.uri: %w", err)
		}
	case c.MongoDB.PasswordFile != "":
		return errPasswordWithoutURI
	}
	return nil
}

// checkTemporal looks for the namespace, and does not make it.
func (c *Config) checkTemporal(ctx context.Context) error {
	if c.Temporal.Address == "" {
		return nil
	}
	s := &system{config: *c, log: slog.New(slog.DiscardHandler)}
	s.config.Temporal.CreateNamespace = false
	options, err := s.temporalOptions(ctx)
	if err != nil {
		return err
	}
	err = s.dialTemporal(ctx, options)
	if s.temporal != nil {
		s.temporal.Close()
	}
	if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); missing && c.Temporal.CreateNamespace {
		return nil
	}
	if err != nil {
		return fmt.Errorf("connect to Temporal at %s: %w", options.HostPort, err)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

const migrateHelp = `Carry an installation to another store: from SQLite to MongoDB, or back.

The settings are those of "countersign serve" and say where the installation is. Stop its
servers first. Everything is copied but what is in Temporal: requests,
approvals, tokens, keys, people, sessions and the audit log. The source stays as it is
(of MongoDB, audit entries and changes that a crash interrupted are completed).

The command may be interrupted and repeated. It refuses a target that has anything which
the source does not have, and verifies the audit log of both. At the first start of a
server on the target, every request that has not ended gets a workflow in the Temporal of
that server's settings. Never serve the source again from then on: both would hand out the
same tokens.

A URI with a password belongs into COUNTERSIGN_MIGRATE_TO_MONGODB, because others can see
arguments.`

// progressEvery is the shortest time between two lines of the log about the progress.
const progressEvery = 5 * time.Second

// migrateVariable may have the value of --to-mongodb.
const migrateVariable = "COUNTERSIGN_MIGRATE_TO_MONGODB"

func migrateCommand() *cobra.Command {
	var file, uri, folder string
	cmd := &cobra.Command{
		Use: "migrate", Short: "Carry an installation from SQLite to MongoDB, or back", Long: migrateHelp, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(file, cmd.Flags())
			if err != nil {
				return usageError{err}
			}
			if uri == "" && folder == "" {
				uri = os.Getenv(migrateVariable)
			}
			if err := checkDirection(config, uri, folder); err != nil {
				return usageError{err}
			}
			unix.Umask(0o077)
			return migrate(cmd, config, uri, folder)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (YAML) of the installation")
	cmd.Flags().StringVar(&uri, "to-mongodb", "", "MongoDB connection string of the target, with a database name (or "+migrateVariable+")")
	cmd.Flags().StringVar(&folder, "to-data", "", "data folder of the target, for SQLite")
	cmd.MarkFlagsMutuallyExclusive("to-mongodb", "to-data")
	addFlags(cmd.Flags())
	return cmd
}

// checkDirection returns an error unless the target is of the other kind than the source.
func checkDirection(config Config, uri, folder string) error {
	switch {
	case uri == "" && folder == "":
		return errors.New("name a target by --to-mongodb (or " + migrateVariable + ") or --to-data")
	case uri != "" && config.MongoDB.URI != "":
		return errors.New("the installation is in MongoDB already; copy it by the tools of MongoDB, or name a folder by --to-data")
	case folder != "" && config.MongoDB.URI == "":
		return errors.New("the installation is in SQLite already; copy its data folder while no server runs, or name a target by --to-mongodb")
	}
	return nil
}

// migrate opens the source and the target, and carries everything over.
func migrate(cmd *cobra.Command, config Config, uri, folder string) (err error) {
	log, err := newLogger(cmd.ErrOrStderr(), config.Log)
	if err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	s := &system{config: config, log: log}
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if err := s.openSource(ctx); err != nil {
		return err
	}
	target, err := s.openTarget(ctx, uri, folder)
	if err != nil {
		return err
	}
	var last time.Time
	m := engine.Migration{
		Source: s.store, Target: target, Key: s.auditKey, Clock: engine.SystemClock,
		Ages: config.Retention.ages(),
		Progress: func(kind string, documents int) {
			if now := engine.SystemClock(); now.Sub(last) > progressEvery {
				log.InfoContext(ctx, "copying", "kind", kind, "documents", documents)
				last = now
			}
		},
	}
	counts, err := m.Run(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var said strings.Builder
	for _, c := range counts {
		fmt.Fprintf(&said, "%-22s %8d in the source, %8d in the target\n", strings.ReplaceAll(c.Kind, "_", " "), c.Source, c.Target)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%sThe target has everything, and its audit log is whole.\n%s", &said, s.whatNext(folder))
	return err
}

// openSource locks the installation and opens its store. SQLite is opened only to read.
func (s *system) openSource(ctx context.Context) error {
	path := databaseIn(s.config.Data)
	embedded := s.config.MongoDB.URI == ""
	if _, err := os.Stat(path); embedded && err != nil {
		return fmt.Errorf("find the installation in the data folder %s: %w", s.config.Data, err)
	}
	if err := s.lockData(); err != nil {
		return err
	}
	if embedded {
		store, err := sqlite.OpenReadOnly(ctx, path)
		if err != nil {
			return err
		}
		s.store = store
		s.onClose(func(context.Context) error { return store.Close() })
	} else if err := s.openStore(ctx); err != nil {
		return err
	}
	var err error
	s.keys, err = keys.Open(ctx, keys.Options{
		Keeper: s.config.Keeper.URL, Previous: s.config.Keeper.Previous, KeyFile: s.config.Keeper.File, InUse: true, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return s.keys.Close() })
	if s.auditKey, err = keys.StoredDataKey(ctx, s.keys, s.store, auditKeyID); err != nil {
		return fmt.Errorf("the source has no installation: %w", err)
	}
	if err := s.store.UseAuditKey(ctx, s.auditKey); err != nil {
		return err
	}
	return s.compareAnchor(ctx)
}

// openTarget opens the store that gets everything.
func (s *system) openTarget(ctx context.Context, uri, folder string) (engine.Store, error) {
	target := &system{config: s.config, log: s.log}
	target.config.MongoDB.URI = uri
	if folder != "" {
		var err error
		if target.config.Data, err = filepath.Abs(folder); err != nil {
			return nil, fmt.Errorf("find the target's data folder: %w", err)
		}
		if target.config.Data != s.config.Data {
			if err := target.lockData(); err != nil {
				return nil, err
			}
		}
	}
	err := target.openStore(ctx)
	s.closers = append(s.closers, target.closers...)
	if err == nil {
		err = target.store.UseAuditKey(ctx, s.auditKey)
	}
	return target.store, err
}

// databaseIn is the path of SQLite's database in a data folder.
func databaseIn(data string) string { return filepath.Join(data, "db", "countersign.db") }

// whatNext says how a server is started on the target.
func (s *system) whatNext(folder string) string {
	steps := "Start a server with mongodb.uri set to the target"
	if folder != "" {
		steps = "Start a server without mongodb.uri and with data set to " + folder
	}
	switch {
	case s.config.Keeper.URL != "":
		steps += ", and with the same keeper.url and keeper.previous"
	default:
		steps += ", and with keeper.file set to " + s.config.Keeper.File + " or to a copy of it"
	}
	return steps + ".\nDo not serve the source again: both would hand out the same tokens.\n"
}

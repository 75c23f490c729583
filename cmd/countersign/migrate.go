package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/failpoint"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
	"github.com/countersign-dev/countersign/workflows"
)

const migrateHelp = `Carry an installation to another store: from SQLite to MongoDB, or back.

The settings are those of "countersign serve" and say where the installation is. Stop its
servers first. Everything is copied but what is in Temporal: requests,
approvals, tokens, keys, people, sessions and the audit log. The source stays as it is
(of MongoDB, audit entries and changes that a crash interrupted are completed).

The command may be interrupted and repeated. It refuses a target that has anything which
the source does not have, and verifies the audit log of both. Every request that has not
ended gets a workflow: by --to-temporal, at once in the Temporal service of that address,
to which the target is bound from then on; the other temporal settings, such as the
namespace and TLS, are the target's. Without it, the first start of a server on the target
does so, in the Temporal of that server's settings.

Before the target has all that a server needs to start, the source is marked: no server
starts on it any more, because both would hand out the same tokens.

A URI with a password belongs into COUNTERSIGN_MIGRATE_TO_MONGODB, because others can see
arguments. The target's user and password may also be in the files that
mongodb.username_file and mongodb.password_file name.`

// progressEvery is the shortest time between two lines of the log about the progress.
const progressEvery = 5 * time.Second

// migrateVariable may have the value of --to-mongodb.
const migrateVariable = "COUNTERSIGN_MIGRATE_TO_MONGODB"

func migrateCommand() *cobra.Command {
	var to migrationTarget
	cmd := configured(&cobra.Command{
		Use: "migrate", Short: "Carry an installation from SQLite to MongoDB, or back", Long: migrateHelp, Args: cobra.NoArgs,
	}, func(cmd *cobra.Command, _ []string, config Config) error {
		if to.uri == "" && to.folder == "" {
			to.uri = os.Getenv(migrateVariable)
		}
		if err := to.check(config); err != nil {
			return usageError{err}
		}
		return migrate(cmd, config, to)
	})
	cmd.Flags().StringVar(&to.uri, "to-mongodb", "", "MongoDB connection string of the target, with a database name (or "+migrateVariable+")")
	cmd.Flags().StringVar(&to.folder, "to-data", "", "data folder of the target, for SQLite")
	cmd.Flags().StringVar(&to.temporal, "to-temporal", "", "host:port of the Temporal service that gets the requests at once")
	cmd.MarkFlagsMutuallyExclusive("to-mongodb", "to-data")
	return cmd
}

// migrationTarget is where an installation is carried to.
type migrationTarget struct {
	uri, folder string // one of them
	temporal    string // the address of a service, or ""
}

// check returns an error unless the target is of the other kind than the source.
func (to migrationTarget) check(config Config) error {
	switch {
	case to.uri == "" && to.folder == "":
		return errors.New("name a target by --to-mongodb (or " + migrateVariable + ") or --to-data")
	case to.uri != "" && config.MongoDB.URI != "":
		return errors.New("the installation is in MongoDB already; copy it by the tools of MongoDB, or name a folder by --to-data")
	case to.folder != "" && config.MongoDB.URI == "":
		return errors.New("the installation is in SQLite already; copy its data folder while no server runs, or name a target by --to-mongodb")
	}
	return nil
}

// migrate opens the source and the target, and carries everything over.
func migrate(cmd *cobra.Command, config Config, to migrationTarget) (err error) {
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
	target, err := s.openTarget(ctx, to)
	defer func() { err = errors.Join(err, target.close(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	if to.temporal != "" {
		if err := target.checkTemporal(ctx); err != nil {
			return err
		}
	}
	said, err := s.copyTo(ctx, target)
	if err == nil && to.temporal != "" {
		var started string
		started, err = target.startRequests(ctx)
		said += started
	}
	if err == nil {
		err = target.unmark(ctx)
	}
	if err != nil {
		if _, none := s.marks().Migrated(ctx); none == nil {
			err = fmt.Errorf("%w (no server starts on the source, which is marked as migrated already)", err)
		}
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s%s", said, s.whatNext(to))
	return err
}

// copyTo copies all documents, and returns what it says of them.
func (s *system) copyTo(ctx context.Context, target *system) (said string, err error) {
	log := s.every(progressEvery)
	m := engine.Migration{
		Source: s.store, Target: target.store, Key: s.auditKey, Clock: engine.SystemClock,
		Ages:       s.config.Retention.ages(),
		MarkSource: func(ctx context.Context) error { return s.markMigratedTo(ctx, target) },
		Progress:   func(kind string, documents int) { log(ctx, "copying", "kind", kind, "documents", documents) },
	}
	counts, err := m.Run(ctx)
	for _, c := range counts {
		said += fmt.Sprintf("%-22s %8d in the source, %8d in the target\n", strings.ReplaceAll(c.Kind, "_", " "), c.Source, c.Target)
	}
	return said + "The target has everything, and its audit log is whole.\n", err
}

// every returns a function that logs, but at most once in a time.
func (s *system) every(pause time.Duration) func(ctx context.Context, text string, fields ...any) {
	var last time.Time
	return func(ctx context.Context, text string, fields ...any) {
		if now := engine.SystemClock(); now.Sub(last) > pause {
			s.log.InfoContext(ctx, text, fields...)
			last = now
		}
	}
}

// startRequests binds a target to its Temporal, and gives its requests their workflows.
func (s *system) startRequests(ctx context.Context) (said string, err error) {
	if err := s.openTemporal(ctx, engine.Migrated, false); err != nil {
		return "", err
	}
	failpoint.Hit("migrated-bound")
	log := s.every(progressEvery)
	done, err := s.workflows.StartAll(ctx, func(done workflows.Reconciled) {
		log(ctx, "starting workflows", "requests", done.Requests)
	})
	return fmt.Sprintf("%d requests have not ended, and each has a workflow in the namespace %s of the Temporal at %s.\n",
		done.Requests, s.config.Temporal.Namespace, s.config.Temporal.Address), err
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
	if err := s.openStoredKeys(ctx); err != nil {
		return fmt.Errorf("open the source: %w", err)
	}
	return s.compareAnchor(ctx)
}

// openTarget opens the store that gets everything. The target is to be closed after an
// error too.
func (s *system) openTarget(ctx context.Context, to migrationTarget) (target *system, err error) {
	target = &system{config: s.config, log: s.log, metrics: prometheus.NewRegistry(), keys: s.keys, auditKey: s.auditKey}
	target.config.Temporal.Address = to.temporal
	target.config.MongoDB.URI = to.uri // as the user of the settings, which the source in SQLite does not need
	if to.folder != "" {
		target.config.MongoDB = MongoDBConfig{}
		if target.config.Data, err = filepath.Abs(to.folder); err != nil {
			return target, fmt.Errorf("find the target's data folder: %w", err)
		}
		if target.config.Data != s.config.Data {
			if err := target.lockData(); err != nil {
				return target, err
			}
		}
	}
	if err = target.openStore(ctx); err == nil {
		err = target.store.UseAuditKey(ctx, s.auditKey)
	}
	return target, err
}

// databaseIn is the path of SQLite's database in a data folder.
func databaseIn(data string) string { return filepath.Join(data, "db", "countersign.db") }

// whatNext says how a server is started on the target.
func (s *system) whatNext(to migrationTarget) string {
	steps := "Start a server with mongodb.uri set to the target"
	if to.folder != "" {
		steps = "Start a server without mongodb.uri and with data set to " + to.folder
	}
	if to.temporal != "" {
		steps += ", with temporal.address set to " + to.temporal + " and the other temporal settings of this command"
	}
	switch {
	case s.config.Keeper.URL != "":
		steps += ", and with the same keeper.url and keeper.previous"
	default:
		steps += ", and with keeper.file set to " + s.config.Keeper.File + " or to a copy of it"
	}
	return steps + ".\nThe source is marked as migrated, and no server starts on it: both would hand out the same tokens.\n"
}

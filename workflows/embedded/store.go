package embedded

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"sync/atomic"
	"unsafe"

	"github.com/jmoiron/sqlx"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives/timestamp"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/schema/sqlite"
)

// store is two SQLite databases, each with the one connection that Temporal's plugin
// opens. main holds the workflows' state; visibility holds the list of workflows.
// They are separate, so that updates of the list do not delay the workflows.
type store struct{ main, visibility *file }

func openStore(o Options) (*store, error) {
	s := &store{}
	var err error
	if s.main, err = open(filepath.Join(o.Dir, "temporal.db"), "FULL"); err == nil {
		// A power failure may lose the last entries of the list; kill -9 loses none.
		s.visibility, err = open(filepath.Join(o.Dir, "visibility.db"), "NORMAL")
	}
	if err == nil {
		err = s.main.createNamespace(o)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) close() error {
	var errs []error
	for _, f := range []*file{s.visibility, s.main} {
		if f != nil {
			errs = append(errs, f.db.Close())
		}
	}
	return errors.Join(errs...)
}

// file is one database: Temporal's configuration for it, and its connection.
type file struct {
	config *config.SQL
	db     *sqlx.DB
}

// starts makes the parameters of each connection unique. The plugin pools connections
// by their parameters and never drops one, so a second start on a folder would get
// the connection that the first one has closed.
var starts atomic.Int64

func open(path, synchronous string) (*file, error) {
	cfg := &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: (&url.URL{Path: path}).EscapedPath(),
		ConnectAttributes: map[string]string{
			"mode": "rwc",
			// SQLite ignores an unknown pragma.
			"countersign_start": strconv.FormatInt(starts.Add(1), 10),
		},
	}
	admin, err := sql.NewSQLAdminDB(sqlplugin.DbKindUnknown, cfg, resolver.NewNoopResolver(), log.NewNoopLogger(), metrics.NoopMetricsHandler)
	if err != nil {
		return nil, err
	}
	f := &file{config: cfg, db: connection(admin)}
	if err := f.prepare(admin, synchronous); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(path), err), f.db.Close())
	}
	return f, nil
}

// connection reads the connection from a private field of the plugin, which has no
// method to close it. Without that, the files would stay open, and the log would not
// be copied to the database, until the process ends.
func connection(admin sqlplugin.AdminDB) *sqlx.DB {
	field := reflect.ValueOf(admin).Elem().FieldByName("db")
	return *(**sqlx.DB)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // no other way to the field; a test fails when it moves
}

// prepare configures the connection and makes the tables of a new file in one
// transaction.
func (f *file) prepare(admin sqlplugin.AdminDB, synchronous string) error {
	for _, pragma := range []string{
		// This comes first, so that the lock is held from the first read on. It refuses
		// a second server, and SQLite needs no shared-memory index.
		"locking_mode = EXCLUSIVE",
		"journal_mode = WAL",
		"synchronous = " + synchronous,
	} {
		if err := admin.Exec("PRAGMA " + pragma); err != nil {
			return fmt.Errorf("set %s: %w", pragma, err)
		}
	}
	tables, err := admin.ListTables("")
	if err != nil || len(tables) > 0 {
		return err
	}
	// The plugin has one connection, so these statements are in one transaction.
	if err := admin.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := sqlite.SetupSchemaOnDB(admin); err != nil {
		return err
	}
	if err := f.dropSearchIndexes(); err != nil {
		return err
	}
	return admin.Exec("COMMIT")
}

// dropSearchIndexes drops the indexes and triggers for search attributes that
// Countersign never sets. With all 58 of them, the end of one workflow writes a
// megabyte and takes a third of the server's CPU time.
func (f *file) dropSearchIndexes() error {
	var drops []string
	err := f.db.Select(&drops, `SELECT 'DROP ' || type || ' ' || name FROM sqlite_master
		WHERE tbl_name = 'executions_visibility' AND sql IS NOT NULL AND type IN ('index', 'trigger')
		AND name NOT IN ('default_idx', 'by_workflow_id')`)
	for _, drop := range drops {
		if err == nil {
			_, err = f.db.Exec(drop)
		}
	}
	return err
}

// createNamespace makes the namespace unless it exists. It writes to the database,
// because the front end would serve a namespace that it makes only seconds later.
func (f *file) createNamespace(o Options) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, o.Namespace, false, nil)
	if err != nil {
		return err
	}
	ns.Detail.Config.Retention = timestamp.DurationPtr(o.Retention)
	return sqlite.CreateNamespaces(f.config, ns)
}

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

// store is two SQLite files, each with the one connection that Temporal's
// plugin gives it. What workflows are made of is in main. The list of
// workflows is apart, so that keeping it does not hold that connection up.
type store struct{ main, visibility *file }

func openStore(o Options) (*store, error) {
	s := &store{}
	var err error
	if s.main, err = open(filepath.Join(o.Dir, "temporal.db"), "FULL"); err == nil {
		// A power cut may lose the last entries of the list; kill -9 loses none.
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

// file is one database: how Temporal finds it, and its connection.
type file struct {
	config *config.SQL
	db     *sqlx.DB
}

// starts tells the openings of one file apart. The plugin pools connections by
// their parameters and never drops one: without it, a second start on a folder
// would be handed the connection that the first has closed.
var starts atomic.Int64

func open(path, synchronous string) (*file, error) {
	cfg := &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: (&url.URL{Path: path}).EscapedPath(),
		ConnectAttributes: map[string]string{
			"mode": "rwc",
			// SQLite ignores a pragma it does not know.
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

// connection takes the connection out of the plugin, which has no way to close
// it: the files would stay open, and the log unmerged, until the process ends.
func connection(admin sqlplugin.AdminDB) *sqlx.DB {
	field := reflect.ValueOf(admin).Elem().FieldByName("db")
	return *(**sqlx.DB)(unsafe.Pointer(field.UnsafeAddr())) //nolint:gosec // no other way to the field; a test fails when it moves
}

// prepare sets the connection up and makes a new file's tables, all or none.
func (f *file) prepare(admin sqlplugin.AdminDB, synchronous string) error {
	for _, pragma := range []string{
		// First: it then holds from the first read on, which is what refuses a
		// second server, and saves SQLite the index it would share with others.
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
	// The plugin has one connection, so that these statements share a transaction.
	if err := admin.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := sqlite.SetupSchemaOnDB(admin); err != nil {
		return err
	}
	if err := f.trim(); err != nil {
		return err
	}
	return admin.Exec("COMMIT")
}

// trim drops the indexes and triggers by which workflows are searched for what
// Countersign never sets. With all 58, recording the end of one workflow
// writes a megabyte and takes a third of the server's time.
func (f *file) trim() error {
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

// createNamespace creates the namespace unless it exists. The front end could,
// but would serve it only seconds later.
func (f *file) createNamespace(o Options) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, o.Namespace, false, nil)
	if err != nil {
		return err
	}
	ns.Detail.Config.Retention = timestamp.DurationPtr(o.Retention)
	return sqlite.CreateNamespaces(f.config, ns)
}

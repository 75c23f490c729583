// Package sqlite is the store of a single machine: one SQLite file. Start with
// [Open].
//
// Every write is on disk when its call returns (write-ahead log, synchronous FULL).
// Writes that wait at the same time share one transaction and one fsync, but each
// can fail alone (writer.go). A change and its record are in one transaction. Reads
// have connections of their own and wait for no write.
//
// A table holds documents as JSON and, in columns, the members by which they are
// found (schema.sql); tables.go says how they follow from the documents. Every listing
// and lookup uses an index; a search for certificates reads all certificates of its
// project, and the check of the columns every table.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/countersign-dev/countersign/engine"
)

var _ engine.Store = (*Store)(nil)

// Store is an open database. Other processes may have it open too.
type Store struct {
	path     string
	auditKey []byte
	writing  *sql.DB   // holds the one connection that writes
	conn     *sql.Conn // that connection; after Open only the writer uses it
	reading  pool

	mu       sync.RWMutex // guards closed, the start of calls, and nodes
	closed   bool
	readOnly bool // since Open
	nodes    map[string]engine.Node
	calls    sync.WaitGroup // writes whose callers still wait
	queue    chan *job
	drained  chan struct{} // closed when the writer has ended
}

// errClosed is returned by a write after Close.
var errClosed = errors.New("sqlite: the store is closed")

// Open opens or makes the database at path. Folders that it makes have mode 0700,
// its files 0600. It migrates the schema of an older program and refuses that of a
// newer one.
func Open(ctx context.Context, path string) (*Store, error) {
	s := newStore()
	if err := s.open(ctx, path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, errors.Join(err, s.disconnect()))
	}
	go s.write(s.conn)
	return s, nil
}

// errReadOnly is returned by a write to a store that only reads.
var errReadOnly = errors.New("sqlite: the store was opened only to read")

// OpenReadOnly opens an existing database, of this program's schema, and changes nothing
// in it: every write fails. SQLite may make the two files beside a database that belong
// to its write-ahead log, if they are missing.
func OpenReadOnly(ctx context.Context, path string) (*Store, error) {
	s := newStore()
	s.readOnly = true
	close(s.drained) // there is no writer
	err := s.openReadOnly(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, errors.Join(err, s.disconnect()))
	}
	return s, nil
}

func (s *Store) openReadOnly(ctx context.Context, path string) (err error) {
	if s.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if _, err := os.Stat(s.path); err != nil {
		return err
	}
	readers, err := connectAs(s.path, "ro", max(4, 2*runtime.GOMAXPROCS(0)), "query_only(1)")
	if err != nil {
		return err
	}
	s.reading = readers
	versions, err := scan(ctx, readers, func(rows *sql.Rows) (v int, err error) { return v, rows.Scan(&v) }, "PRAGMA user_version")
	if err == nil && versions[0] != len(migrations) {
		err = fmt.Errorf("the database has schema %d, this program has schema %d: start a server of this version on it once, and stop it", versions[0], len(migrations))
	}
	return err
}

func newStore() *Store {
	return &Store{queue: make(chan *job), drained: make(chan struct{})}
}

func (s *Store) open(ctx context.Context, path string) (err error) {
	if s.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if err := create(s.path); err != nil {
		return err
	}
	// The log may grow to 16 MB before it is copied to the database, so that a page
	// which changes often is copied once. The cache (16 MB) holds the pages to which
	// keys are added.
	if s.writing, err = connect(s.path, 1, "journal_mode(wal)", "synchronous(full)",
		"wal_autocheckpoint(4000)", "journal_size_limit(33554432)", "cache_size(-16384)"); err != nil {
		return err
	}
	if s.conn, err = s.writing.Conn(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, s.conn, migrations); err != nil {
		return err
	}
	if err := fillGrams(ctx, s.conn); err != nil {
		return err
	}
	if err := restrictAccess(s.path); err != nil {
		return err
	}
	readers, err := connect(s.path, max(4, 2*runtime.GOMAXPROCS(0)), "query_only(1)")
	if err != nil {
		return err
	}
	s.reading = readers
	return nil
}

// connect opens a pool. Temporary tables stay in memory, because no stored data may
// reach a shared folder.
func connect(path string, connections int, pragmas ...string) (*sql.DB, error) {
	return connectAs(path, "rw", connections, pragmas...)
}

// connectAs is connect with a mode of SQLite's: rw, or ro only to read.
func connectAs(path, mode string, connections int, pragmas ...string) (*sql.DB, error) {
	options := url.Values{"mode": {mode}, "_pragma": append(pragmas, "busy_timeout(10000)", "temp_store(memory)", "trusted_schema(0)")}
	name := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// create makes an empty database that only its owner can access; SQLite gives its
// other files the same mode. It does not open an existing file, because closing the
// file would release the locks that this process may hold on it.
func create(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the operator names the file
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// restrictAccess lets only the owner access a database that was made with another
// mode.
func restrictAccess(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Chmod(path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Ping reads from the database.
func (s *Store) Ping(ctx context.Context) error {
	if _, err := scan(ctx, s.reading, func(*sql.Rows) (bool, error) { return true, nil }, "PRAGMA user_version"); err != nil {
		return fmt.Errorf("ping store: %w", err)
	}
	return nil
}

// Close waits for running writes, copies the log into the database and closes it.
// Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if already {
		<-s.drained
		return nil
	}
	s.calls.Wait()
	close(s.queue)
	<-s.drained
	if err := s.disconnect(); err != nil {
		return fmt.Errorf("close store %s: %w", s.path, err)
	}
	return nil
}

// disconnect closes the connections. The last one to close copies the log into the
// database, so the writing connection must be the last.
func (s *Store) disconnect() error {
	var errs []error
	if s.reading != nil {
		errs = append(errs, s.reading.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.writing != nil {
		errs = append(errs, s.writing.Close())
	}
	return errors.Join(errs...)
}

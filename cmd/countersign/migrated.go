package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
)

// migrationMarks keep what says that an installation was carried to another store. A
// server refuses to start on a store that has a mark.
type migrationMarks interface {
	MarkMigrated(ctx context.Context, m engine.MigrationMark) error
	Migrated(ctx context.Context) (engine.MigrationMark, error) // or CodeNotFound
	UnmarkMigrated(ctx context.Context) error
}

// marks are those of the system's store: a document in MongoDB, or a file beside the
// database of SQLite, which no migration changes.
func (s *system) marks() migrationMarks {
	if s.config.MongoDB.URI != "" {
		return s.store.(*mongo.Store)
	}
	return markFile(filepath.Join(s.config.Data, "migrated.json"))
}

// openServedStore opens the store, unless the installation was carried to another one.
func (s *system) openServedStore(ctx context.Context) error {
	embedded := s.config.MongoDB.URI == ""
	if embedded { // before SQLite writes anything
		if err := s.refuseMigrated(ctx); err != nil {
			return err
		}
	}
	if err := s.openStore(ctx); err != nil {
		return err
	}
	if embedded {
		s.registerBackupAge()
		return nil
	}
	return s.refuseMigrated(ctx)
}

func (s *system) refuseMigrated(ctx context.Context) error {
	marks := s.marks()
	m, err := marks.Migrated(ctx)
	switch {
	case errors.Is(err, engine.CodeNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("read whether the installation was migrated: %w", err)
	}
	remedy := `delete the document "migrated" of the collection "schema"`
	if file, ok := marks.(markFile); ok {
		remedy = "delete the file " + string(file)
	}
	return fmt.Errorf("the installation was migrated to %s at %s, and both would hand out the same tokens: start a server there. "+
		"If that migration was abandoned and no server has ever run there, %s", m.To, m.At.Format(time.RFC3339), remedy)
}

// markMigratedTo marks the source of a migration.
func (s *system) markMigratedTo(ctx context.Context, target *system) error {
	host, _ := os.Hostname() // it is only shown
	to := "SQLite in " + target.config.Data + " on " + host
	if m, ok := target.store.(*mongo.Store); ok {
		to = "MongoDB at " + m.Hosts()
	}
	return s.marks().MarkMigrated(ctx, engine.MigrationMark{To: to, At: engine.SystemClock()})
}

// unmark takes the mark of an earlier migration from the target of one. It comes last, so
// that no server starts on the target before its source is marked and all is done.
func (s *system) unmark(ctx context.Context) error {
	if err := s.marks().UnmarkMigrated(ctx); err != nil {
		return fmt.Errorf("take away the mark of an earlier migration from the target: %w", err)
	}
	return nil
}

// markFile is the path of a mark.
type markFile string

// MarkMigrated implements migrationMarks.
func (f markFile) MarkMigrated(_ context.Context, m engine.MigrationMark) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(string(f), append(text, '\n'), 0o600, renameio.WithTempDir(filepath.Dir(string(f))))
}

// Migrated implements migrationMarks.
func (f markFile) Migrated(context.Context) (m engine.MigrationMark, err error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return m, engine.CodeNotFound
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is not whole: %w", string(f), err)
	}
	return m, nil
}

// UnmarkMigrated implements migrationMarks.
func (f markFile) UnmarkMigrated(context.Context) error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Snapshot writes the database, as it is at one moment, to an empty or missing file.
// Calls that write to the database go on meanwhile, in every process. The copy has no
// remains of what was deleted.
func (s *Store) Snapshot(ctx context.Context, path string) (err error) {
	db, err := connectAs(s.path, "ro", 1)
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", s.path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("snapshot %s: %w", s.path, err)
	}
	return nil
}

// CheckIntegrity returns an error unless SQLite finds the whole database sound.
func (s *Store) CheckIntegrity(ctx context.Context) error {
	problems, err := scan(ctx, s.reading, func(rows *sql.Rows) (p string, err error) { return p, rows.Scan(&p) }, "PRAGMA integrity_check(1)")
	if err == nil && (len(problems) != 1 || problems[0] != "ok") {
		err = fmt.Errorf("%v", problems)
	}
	if err != nil {
		return fmt.Errorf("check the integrity of %s: %w", s.path, err)
	}
	return nil
}

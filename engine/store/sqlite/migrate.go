package sqlite

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

//go:embed schema.sql
var schema string

// migrations lead from an empty database to today's schema; user_version counts
// those that were applied. Add new ones at the end, and never change one that was
// released.
var migrations = []string{schema, unendedRequests, gramsSchema, eventTimes}

// unendedRequests finds the requests that have not ended without those that have.
const unendedRequests = "CREATE INDEX requests_unended ON download_requests (created_at, id) WHERE ended_at IS NULL"

// eventTimes finds the oldest events of all certificates.
const eventTimes = "CREATE INDEX events_time ON certificate_events (time)"

// ends is when a certificate's validity ends, in seconds since 1970. A document that
// somebody has made unreadable has none.
const ends = "iif(json_valid(doc), unixepoch(json_extract(doc, '$.not_after')), NULL)"

// additions are made at each opening and have no number, because the release before serves
// a database that has them: an operator may go back to it. They find the pending approvals
// and the certificates that end, of all projects, and the sessions of a user.
//
//nolint:gosec // it is made of constants
var additions = "CREATE INDEX IF NOT EXISTS approvals_pending ON approval_requests (created_at) WHERE status = 'pending';" +
	"CREATE INDEX IF NOT EXISTS certificates_ends ON certificates (" + ends + ");" +
	"CREATE INDEX IF NOT EXISTS sessions_user ON sessions (" + member("$.user_id") + ", expires_at DESC, id DESC)"

// migrate applies the missing migrations, each in a transaction of its own, and
// checks that writes to the database are durable.
func migrate(ctx context.Context, conn *sql.Conn, migrations []string) error {
	for {
		done, err := step(ctx, conn, migrations)
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		if done {
			break
		}
	}
	// Nothing but metrics and a listing of administrators needs them, so a full disk keeps no
	// server from starting without them, and the next start makes them.
	if _, err := conn.ExecContext(ctx, additions); err != nil && !errors.Is(fault(err), engine.CodeStorageFull) {
		return fmt.Errorf("add to the schema: %w", err)
	}
	var mode, sync string
	err := errors.Join(
		conn.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode),
		conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&sync),
	)
	if err == nil && (mode != "wal" || sync != "2") {
		err = fmt.Errorf("the file system does not allow a durable write-ahead log (journal_mode %s, synchronous %s); use a local disk", mode, sync)
	}
	return err
}

// step applies the next migration. It reads the version inside the transaction,
// because another process may open the database at the same time.
func step(ctx context.Context, conn *sql.Conn, migrations []string) (done bool, err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			_, rollback := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, rollback)
		}
	}()
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return false, err
	}
	if version > len(migrations) {
		return false, fmt.Errorf("the database has schema %d, this program knows schemas up to %d: it was written by a newer version of Countersign; run that version", version, len(migrations))
	}
	if done = version == len(migrations); !done {
		if _, err := conn.ExecContext(ctx, migrations[version]); err != nil {
			return false, fmt.Errorf("to schema %d: %w", version+1, err)
		}
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
			return false, err
		}
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return done, err
}

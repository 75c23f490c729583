package sqlite

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

// batchLimit is the largest number of writes that share a transaction. It limits how
// long the first of them waits for the others to a few milliseconds.
const batchLimit = 128

// job is a write that waits for the writer.
type job struct {
	ctx  context.Context
	do   func(tx) error // may be called twice; the first call is then rolled back
	err  error
	done chan struct{} // closed when err and the result of do can be read
}

// tx is the writer's connection inside a transaction.
type tx struct {
	conn     connection
	auditKey []byte
}

// update runs do in a transaction and returns its result when the transaction is on
// disk. A caller whose context ends gets the context's error; the write may still be
// done then, but never in part.
func update[T any](ctx context.Context, s *Store, do func(tx) (T, error), attributes ...attribute.KeyValue) (found T, err error) {
	if s.readOnly {
		return found, errReadOnly
	}
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return found, errClosed
	}
	s.calls.Add(1)
	s.mu.RUnlock()
	defer s.calls.Done()
	ctx, span := tracing.Start(ctx, "store write", attributes...)
	defer func() { tracing.End(span, err) }()

	var result T // not found, because the caller may return before the writer is done
	j := &job{ctx: ctx, done: make(chan struct{})}
	j.do = func(tx tx) (err error) {
		tx.auditKey = s.auditKey
		result, err = do(tx)
		return err
	}
	select {
	case s.queue <- j:
	case <-ctx.Done():
		return found, fmt.Errorf("wait to write: %w", ctx.Err())
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		return found, fmt.Errorf("wait for a write: %w", ctx.Err())
	}
	if j.err != nil {
		return found, fault(j.err)
	}
	return result, nil
}

// fault translates the error of SQLite that its caller can do something about.
func fault(err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return engine.Errorf(engine.CodeStorageFull, "the disk of the server is full, so nothing was changed; try again when its operators have made room").Because(err)
	}
	return err
}

// change makes a change and writes its record, in one transaction.
func (s *Store) change(ctx context.Context, rec engine.Record, do func(tx) error) error {
	_, err := update(ctx, s, func(tx tx) (none struct{}, err error) {
		if err := do(tx); err != nil {
			return none, err
		}
		_, err = tx.record(rec)
		return none, err
	}, tracing.Action.String(rec.Audit.Action))
	return err
}

// write is the writer: until the queue is closed, it collects all waiting writes,
// commits them in one transaction and answers their callers.
func (s *Store) write(conn connection) {
	defer close(s.drained)
	for first := range s.queue {
		batch := append(make([]*job, 0, 8), first)
		for more := true; more && len(batch) < batchLimit; {
			select {
			case j, open := <-s.queue:
				if more = open; open {
					batch = append(batch, j)
				}
			default:
				more = false
			}
		}
		commit(conn, batch)
		for _, j := range batch {
			close(j.done)
		}
	}
}

// errFailed says that a job failed and with it the shared transaction.
var errFailed = errors.New("another write in the same transaction failed")

// commit runs the jobs in one transaction and sets their errors. If a job fails, all
// are run again with savepoints, so that only that job fails. Savepoints copy every
// page that a job changes, so the first try does without them.
func commit(conn connection, batch []*job) {
	err := transact(conn, batch, tx.runDirectly)
	if errors.Is(err, errFailed) && len(batch) > 1 {
		err = transact(conn, batch, tx.runAlone)
	}
	for _, j := range batch {
		if j.err == nil && err != nil {
			j.err = fmt.Errorf("commit: %w", err)
		}
	}
}

// transact runs the jobs in one transaction, all of them or none.
func transact(conn connection, batch []*job, do func(tx, *job) error) error {
	err := exec(conn, "BEGIN IMMEDIATE")
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err == nil && err == nil {
			err = do(tx{conn: conn}, j)
		}
	}
	if err == nil {
		err = exec(conn, "COMMIT")
	}
	if err != nil {
		err = errors.Join(err, exec(conn, "ROLLBACK")) // an error, too, if SQLite has rolled back already
	}
	return err
}

// runDirectly runs a job whose failure ends the transaction.
func (tx tx) runDirectly(j *job) error {
	if j.err = j.do(tx); j.err != nil {
		return errFailed
	}
	return nil
}

// runAlone runs a job after a savepoint, to which the transaction returns if the job
// fails. SQLite itself ends the whole transaction when, for example, the disk is
// full; the savepoint is then missing, which is an error.
func (tx tx) runAlone(j *job) error {
	if err := exec(tx.conn, "SAVEPOINT job"); err != nil {
		return err
	}
	if j.err = j.do(tx); j.err != nil {
		if err := exec(tx.conn, "ROLLBACK TO job"); err != nil {
			return errors.Join(j.err, err)
		}
	}
	return exec(tx.conn, "RELEASE job")
}

// exec runs a statement without a context, because a caller who leaves must not
// interrupt a transaction that serves others too.
func exec(conn connection, statement string, args ...any) error {
	_, err := conn.ExecContext(context.Background(), statement, args...)
	return err
}

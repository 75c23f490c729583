package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// batchLimit bounds how many writes share a transaction, and so how long the
// first of them waits for the others: a few milliseconds.
const batchLimit = 128

// job is a write that waits for the writer.
type job struct {
	ctx  context.Context
	do   func(tx) error // may be called twice: the first is then rolled back
	err  error
	done chan struct{} // closed once err, and what do found, are there to be read
}

// tx is the writer's connection inside a transaction.
type tx struct{ conn connection }

// update runs do in a transaction and returns what it found, once that is on
// disk. A caller whose context ends gets its error: if the writer was at it
// already, the write may be done all the same, but never in part.
func update[T any](ctx context.Context, s *Store, do func(tx) (T, error)) (found T, err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return found, errClosed
	}
	s.calls.Add(1)
	s.mu.RUnlock()
	defer s.calls.Done()

	var result T // found stays the caller's, who may leave before the writer is done
	j := &job{ctx: ctx, done: make(chan struct{})}
	j.do = func(tx tx) (err error) {
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
		return found, j.err
	}
	return result, nil
}

// change makes a change and puts it on record, in one transaction.
func (s *Store) change(ctx context.Context, rec engine.Record, do func(tx) error) error {
	_, err := update(ctx, s, func(tx tx) (none struct{}, err error) {
		if err := do(tx); err != nil {
			return none, err
		}
		return none, tx.record(rec)
	})
	return err
}

// write is the writer: it takes all writes that wait, commits them at once and
// answers, until the queue is closed.
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

// errFailed says that a job failed, and so the transaction it was in.
var errFailed = errors.New("a write beside it failed")

// commit does the jobs in one transaction and sets their errors. A transaction
// in which one fails is done over with savepoints, so that it fails alone: they
// copy every page that a job touches, so most transactions go without.
func commit(conn connection, batch []*job) {
	err := transact(conn, batch, tx.plainly)
	if errors.Is(err, errFailed) && len(batch) > 1 {
		err = transact(conn, batch, tx.apart)
	}
	for _, j := range batch {
		if j.err == nil && err != nil {
			j.err = fmt.Errorf("commit: %w", err)
		}
	}
}

// transact does the jobs in one transaction, all of them or none.
func transact(conn connection, batch []*job, do func(tx, *job) error) error {
	err := exec(conn, "BEGIN IMMEDIATE")
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err == nil && err == nil {
			err = do(tx{conn}, j)
		}
	}
	if err == nil {
		err = exec(conn, "COMMIT")
	}
	if err != nil {
		err = errors.Join(err, exec(conn, "ROLLBACK")) // which says so where there is nothing to roll back
	}
	return err
}

// plainly does a job whose failure ends the transaction.
func (tx tx) plainly(j *job) error {
	if j.err = j.do(tx); j.err != nil {
		return errFailed
	}
	return nil
}

// apart does a job behind a savepoint, to which its failure leads back. SQLite
// ends the whole transaction by itself when, for one, the disk is full: then the
// savepoint is gone, and that is the error.
func (tx tx) apart(j *job) error {
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

// exec runs a statement without a context: a caller who leaves must not
// interrupt what is done for others too.
func exec(conn connection, statement string, args ...any) error {
	_, err := conn.ExecContext(context.Background(), statement, args...)
	return err
}

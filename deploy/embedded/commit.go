package embedded

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"strings"
	"sync"
)

// sharedConn lets many sessions use one SQLite connection and share the syncs
// of its log. Temporal's plugin has one connection, which a transaction keeps
// until the disk has its commit; here the next transaction runs meanwhile, and
// one sync serves all that committed before it began.
//
// A session that has committed waits for the sync before it tells, so that
// whoever is told can rely on it, and SQLite itself (synchronous = NORMAL)
// keeps the log in order: what a power cut takes is a tail that nobody was
// told of.
type sharedConn struct {
	driver driver.Driver
	conn   driver.Conn
	turn   chan struct{} // holds one token: whoever has it, has conn
	log    *syncer
}

func share(d driver.Driver, dsn string) (*sharedConn, error) {
	conn, err := d.Open(dsn)
	if err != nil {
		return nil, err
	}
	c := &sharedConn{driver: d, conn: conn, turn: make(chan struct{}, 1)}
	return c, nil
}

func (c *sharedConn) Connect(context.Context) (driver.Conn, error) { return &session{shared: c}, nil }
func (c *sharedConn) Driver() driver.Driver                        { return c.driver }
func (c *sharedConn) Close() error                                 { return c.conn.Close() }

// session is what database/sql takes for a connection.
type session struct {
	shared *sharedConn
	inTx   bool
	dirty  bool // has written what must survive a power cut
}

var (
	_ driver.ConnBeginTx    = (*session)(nil)
	_ driver.ExecerContext  = (*session)(nil)
	_ driver.QueryerContext = (*session)(nil)
)

func (s *session) Close() error { return nil }

func (s *session) Prepare(query string) (driver.Stmt, error) { return nil, driver.ErrSkip }

func (s *session) Begin() (driver.Tx, error) {
	return s.BeginTx(context.Background(), driver.TxOptions{})
}

func (s *session) lock(ctx context.Context) error {
	if s.inTx {
		return nil
	}
	select {
	case s.shared.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// done gives the turn back and, if something was written, waits for the disk.
func (s *session) done() error {
	if s.inTx {
		return nil
	}
	dirty := s.dirty
	s.dirty = false
	var n uint64
	if dirty && s.shared.log != nil {
		n = s.shared.log.mark()
	}
	<-s.shared.turn
	if !dirty || s.shared.log == nil {
		return nil
	}
	return s.shared.log.wait(n)
}

func (s *session) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	tx, err := s.shared.conn.(driver.ConnBeginTx).BeginTx(ctx, o)
	if err != nil {
		<-s.shared.turn
		return nil, err
	}
	s.inTx, s.dirty = true, false
	return &sessionTx{s, tx}, nil
}

type sessionTx struct {
	*session
	tx driver.Tx
}

func (t *sessionTx) Commit() error {
	err := t.tx.Commit()
	t.inTx = false
	if err != nil {
		t.dirty = false
	}
	if e := t.done(); err == nil {
		err = e
	}
	return err
}

func (t *sessionTx) Rollback() error {
	err := t.tx.Rollback()
	t.inTx, t.dirty = false, false
	_ = t.done()
	return err
}

func (s *session) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	r, err := s.shared.conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if err == nil && !expendable(query) {
		s.dirty = true
	}
	if e := s.done(); err == nil {
		err = e
	}
	return r, err
}

func (s *session) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	r, err := s.shared.conn.(driver.QueryerContext).QueryContext(ctx, query, args)
	if err != nil {
		_ = s.done()
		return nil, err
	}
	return &rows{r, s}, nil
}

type rows struct {
	driver.Rows
	s *session
}

func (r *rows) Close() error {
	err := r.Rows.Close()
	_ = r.s.done()
	return err
}

// expendable tells statements whose loss in a power cut costs nothing: a history node
// counts only through the transaction that comes after and refers to it, and a
// task whose deletion is lost runs twice, as any task may.
func expendable(query string) bool {
	q := strings.TrimSpace(query)
	return strings.HasPrefix(q, "DELETE ") || strings.HasPrefix(q, "REPLACE INTO history_") || os.Getenv("EXP_ONEFILE") != "" && strings.HasPrefix(q, "INSERT INTO executions_visibility")
}

// syncer syncs a file for all who have written to it at once.
type syncer struct {
	file            *os.File
	mu              sync.Mutex
	done            sync.Cond
	written, synced uint64
	busy            bool
	err             error
}

func newSyncer(f *os.File) *syncer {
	s := &syncer{file: f}
	s.done.L = &s.mu
	return s
}

// mark is called after a write; wait with its result returns when that is on disk.
func (s *syncer) mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written++
	return s.written
}

func (s *syncer) wait(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.synced < n && s.err == nil {
		if s.busy {
			s.done.Wait()
			continue
		}
		s.busy = true
		upTo := s.written
		s.mu.Unlock()
		err := s.file.Sync()
		s.mu.Lock()
		s.busy, s.synced, s.err = false, upTo, err
		s.done.Broadcast()
	}
	return s.err
}

var _ = sql.ErrNoRows

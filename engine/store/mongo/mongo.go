// Package mongo stores Countersign's documents in MongoDB, for any number of
// processes at once. Start with [Open]. All decisions between callers are made by
// insert (document.go); linker.go writes the audit chains.
//
// Each type of the engine has a collection. A document has the members of the
// type's JSON form, with the id as _id. The package keeps the promises of
// engine.Store by these rules:
//
//   - Where only one caller may win, the store inserts a document under an _id and
//     never updates one: the settlement of a token, a version of a policy, a place
//     in an audit chain. Every server refuses one of two such inserts, and the
//     refused caller reads the winner's document. After a lost answer the store
//     reads the document too.
//   - Such documents never change, so a majority read of one is final: it cannot be
//     rolled back. A read that is too early finds nothing and is repeated. No read
//     needs to be linearizable.
//   - All reads go to the primary, because a secondary may not have a token or a
//     settlement of a moment ago. A deposed primary decides nothing, because it
//     acknowledges no insert. For a moment after an election a read may be as old
//     as the election: a policy or a revocation from just before it takes effect
//     that moment later. Linearizable reads would close this gap, at the price of
//     a round trip to a majority in every call.
//   - A majority acknowledges writes, from the journal. On a replica set or mongos
//     the driver repeats a write whose answer was lost; retryWrites=false in the
//     URI switches that off.
//   - The store uses no transactions: it writes a change first, then its audit
//     entry, then its timeline event. If one of the last two fails, the call fails,
//     and the same call again adds what is missing.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/event"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/readpref"

	"github.com/countersign-dev/countersign/engine"
)

// Store implements engine.Store on a MongoDB database.
type Store struct {
	client   *driver.Client
	db       *driver.Database
	audit    chains
	auditKey []byte
	links    atomic.Bool // whether this process links audit entries: who only reads may lack the key
	hosts    []string

	mu     sync.Mutex
	closed bool
	// writes counts the running calls that write, and the running linkers.
	writes sync.WaitGroup
}

var _ engine.Store = (*Store)(nil)

// Open connects to the database that the URI names ("countersign" if it names
// none), checks that its schema is one this program knows, and makes and checks
// its indexes. The URI's timeouts, pool, TLS, credentials and retryWrites apply;
// its write concern, read concern and read preference do not. The files that it names
// for TLS are read again for each connection. No error holds any part of the URI but
// host names.
func Open(ctx context.Context, uri string) (*Store, error) {
	return open(ctx, uri, Credential{}, nil)
}

// OpenAs is Open as a user of whom files have the name and the password.
func OpenAs(ctx context.Context, uri string, c Credential) (*Store, error) {
	return open(ctx, uri, c, nil)
}

// open is OpenAs with a monitor of the commands that are sent, in place of their traces,
// unless it is nil.
func open(ctx context.Context, uri string, c Credential, monitor *event.CommandMonitor) (*Store, error) {
	opts, database, err := clientOptions(uri, c)
	if err != nil {
		return nil, err
	}
	if opts.Monitor = monitor; monitor == nil {
		opts.Monitor = traceCommands()
	}
	client, err := driver.Connect(ctx, opts)
	if err != nil {
		return nil, fault("connect to MongoDB", err)
	}
	s := &Store{client: client, db: client.Database(database), hosts: opts.Hosts}
	s.audit.store, s.audit.closing = s, make(chan struct{})
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Check connects to the server and asks for its primary, as a user of whom files have the
// name and the password. It reads and makes nothing.
func Check(ctx context.Context, uri string, c Credential) error {
	opts, _, err := clientOptions(uri, c)
	if err != nil {
		return err
	}
	client, err := driver.Connect(ctx, opts)
	if err != nil {
		return fault("connect to MongoDB", err)
	}
	defer func() { _ = client.Disconnect(context.WithoutCancel(ctx)) }() // nothing was written
	if err := client.Ping(ctx, readpref.Primary()); err != nil {
		return fault("connect to MongoDB", err)
	}
	return nil
}

// Ping implements engine.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Ping(ctx, readpref.Primary()); err != nil {
		return fault("ping MongoDB", err)
	}
	return nil
}

// Close implements engine.Store. It waits for running writes, those of the audit
// chains included, and closes the connections. Later writes are refused.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.audit.closing)
	}
	s.mu.Unlock()
	s.writes.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil && !errors.Is(err, driver.ErrClientDisconnected) {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}
	return nil
}

// begin registers a write, so that Close waits for it. The caller must call end.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return engine.Errorf(engine.CodeUnavailable, "the store is closed; the server is stopping")
	}
	s.writes.Add(1)
	return nil
}

func (s *Store) end() { s.writes.Done() }

// Package mongo keeps Countersign's documents in MongoDB, for any number of
// processes at once. Start with [Open]; insert (document.go) is how anything is
// decided, appender.go how the audit chain grows.
//
// The documents are the engine's types under their JSON names, one collection
// each. The package promises what engine.Store asks, by these rules:
//
//   - What only one caller may win is an insert under an _id, never an update:
//     the end of a token, a version of a policy, a place in an audit chain. Of
//     two inserts one is refused by every server, and whoever is refused reads
//     the winner. An answer that was lost on the way is told by reading too.
//   - Such documents never change, so a majority read of one is final: it cannot
//     be rolled back. A read that comes too early finds nothing and is repeated,
//     which is why no read needs to be linearizable.
//   - All reads go to the primary. A token that was issued a moment ago must be
//     found, and one that ended a moment ago refused without rendering; a
//     secondary knows neither yet. What a deposed primary answers decides
//     nothing, because no insert on it is ever acknowledged. For a moment after
//     an election a read can be as old as the election: a policy or a revocation
//     acknowledged just before it takes hold that moment later. Linearizable
//     reads would close this gap for a majority's round trip in every call.
//   - Writes are acknowledged by a majority, from the journal. The driver repeats
//     one whose answer was lost where the server can tell the repetition (a
//     replica set or mongos); retryWrites=false in the URI switches that off.
//   - MongoDB's transactions are not used: a change is written first, then its
//     audit entry, then its timeline event. If one of the last two fails the call
//     fails, and the same call again adds what is missing.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"

	"github.com/countersign-dev/countersign/engine"
)

const (
	defaultDatabase = "countersign"
	// selectWithin is how long a call waits for a primary, at most.
	selectWithin = 5 * time.Second
	// answerWithin bounds one operation whose caller set no deadline.
	answerWithin = 10 * time.Second
	// indexWithin bounds making one collection's indexes, over whatever is in it.
	indexWithin = 10 * time.Minute
)

// Store is an engine.Store on a MongoDB database.
type Store struct {
	client *driver.Client
	db     *driver.Database
	audit  appenders

	mu     sync.Mutex
	closed bool
	// writes are the calls that change something, and the appenders at work.
	writes sync.WaitGroup
}

var _ engine.Store = (*Store)(nil)

// Open connects to the database that the URI names ("countersign" if it names
// none), checks that its schema is one this program knows, and makes and checks
// its indexes. The URI's timeouts, pool, TLS, credentials and retryWrites apply;
// its write concern, read concern and read preference do not. No error holds any
// part of the URI but host names.
func Open(ctx context.Context, uri string) (*Store, error) {
	opts, database, err := clientOptions(uri)
	if err != nil {
		return nil, err
	}
	client, err := driver.Connect(ctx, opts)
	if err != nil {
		return nil, fault("connect to MongoDB", err)
	}
	s := &Store{client: client, db: client.Database(database)}
	s.audit.store = s
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func clientOptions(uri string) (*options.ClientOptions, string, error) {
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, "", badURI(err)
	}
	database := parsed.Database
	if database == "" {
		database = defaultDatabase
	}
	opts := options.Client().ApplyURI(uri)
	journal := true
	opts.SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journal})
	opts.SetReadConcern(readconcern.Majority()).SetReadPreference(readpref.Primary())
	if opts.Timeout == nil {
		opts.SetTimeout(answerWithin)
	}
	if opts.ServerSelectionTimeout == nil || *opts.ServerSelectionTimeout > selectWithin {
		opts.SetServerSelectionTimeout(selectWithin)
	}
	if opts.ConnectTimeout == nil {
		opts.SetConnectTimeout(selectWithin)
	}
	if opts.AppName == nil {
		opts.SetAppName("countersign")
	}
	if err := opts.Validate(); err != nil {
		return nil, "", badURI(err)
	}
	return opts, database, nil
}

// badURI says what is wrong with a URI without the parser's text, which quotes
// the parts that hold credentials.
func badURI(err error) error {
	const text = "the MongoDB URI cannot be used (its text is left out here, as it may hold a password)"
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%s: look up its hosts: %w", text, dns)
	}
	return errors.New(text + ": expected mongodb://user:password@host:port/database?options, user and password percent-encoded")
}

// Ping implements engine.Store.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.client.Ping(ctx, readpref.Primary()); err != nil {
		return fault("ping MongoDB", err)
	}
	return nil
}

// Close implements engine.Store: it lets the writes under way end, those of the
// audit chains included, and closes the connections. Later writes are refused.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.writes.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil && !errors.Is(err, driver.ErrClientDisconnected) {
		return fmt.Errorf("disconnect from MongoDB: %w", err)
	}
	return nil
}

// begin counts a write, so that Close waits for it; end must follow.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return engine.Errorf(engine.CodeUnavailable, "the store is closed")
	}
	s.writes.Add(1)
	return nil
}

func (s *Store) end() { s.writes.Done() }

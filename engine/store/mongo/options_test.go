package mongo

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/mongo/readpref"

	"github.com/countersign-dev/countersign/engine"
)

func TestOptionsKeepWhatTheURISays(t *testing.T) {
	for _, c := range []struct {
		uri, database   string
		selection, call time.Duration
		retry           *bool
	}{
		{"mongodb://127.0.0.1", "countersign", selectWithin, answerWithin, nil},
		{"mongodb://127.0.0.1/own?readPreference=secondary&serverSelectionTimeoutMS=60000", "own", selectWithin, answerWithin, nil},
		{"mongodb://127.0.0.1/own?retryWrites=false&serverSelectionTimeoutMS=100&timeoutMS=700", "own", 100 * time.Millisecond, 700 * time.Millisecond, new(bool)},
	} {
		opts, database, err := clientOptions(c.uri, Credential{})
		if err != nil {
			t.Fatal(err)
		}
		if database != c.database || *opts.ServerSelectionTimeout != c.selection || *opts.Timeout != c.call {
			t.Errorf("%s: database %s, selection within %v, calls within %v", c.uri, database, *opts.ServerSelectionTimeout, *opts.Timeout)
		}
		if (opts.RetryWrites == nil) != (c.retry == nil) || opts.RetryWrites != nil && *opts.RetryWrites != *c.retry {
			t.Errorf("%s: retryable writes are %v", c.uri, opts.RetryWrites)
		}
		if opts.ReadPreference.Mode() != readpref.PrimaryMode {
			t.Errorf("%s: reads go to %v", c.uri, opts.ReadPreference)
		}
	}
}

// Every state in which a request has ended is purged, and no other.
func TestEndedStates(t *testing.T) {
	for _, status := range []engine.Status{
		engine.StatusPendingApproval, engine.StatusApproved, engine.StatusIssued, engine.StatusConsumed,
		engine.StatusDenied, engine.StatusExpired, engine.StatusCancelled, engine.StatusRevoked,
	} {
		if slices.Contains(ended, status) != status.Ended() || slices.Contains(unended, status) == status.Ended() {
			t.Errorf("%s: ended is %v", status, status.Ended())
		}
	}
}

// The error names a host that cannot be looked up, and nothing else of the URI.
func TestBadURINamesOnlyTheHost(t *testing.T) {
	text := badURI(fmt.Errorf("mongodb+srv://app:hunter2@db.invalid: %w", &net.DNSError{Err: "no such host", Name: "db.invalid"})).Error()
	if !strings.Contains(text, "db.invalid") || strings.Contains(text, "hunter2") {
		t.Error(text)
	}
}

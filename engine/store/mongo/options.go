package mongo

import (
	"errors"
	"fmt"
	"net"
	"time"

	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readconcern"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/x/mongo/driver/connstring"
)

const (
	defaultDatabase = "countersign"
	// selectWithin limits how long a call waits for a primary.
	selectWithin = 5 * time.Second
	// answerWithin limits an operation whose caller set no deadline.
	answerWithin = 10 * time.Second
	// indexWithin limits the making of the indexes, however large the collections are.
	indexWithin = 10 * time.Minute
)

// clientOptions are those of a client, and the name of the database.
func clientOptions(uri string, c Credential) (*options.ClientOptions, string, error) {
	uri, err := c.inURI(uri)
	if err != nil {
		return nil, "", err
	}
	parsed, err := connstring.ParseAndValidate(uri)
	if err != nil {
		return nil, "", badURI(err)
	}
	files := filesForTLS(parsed)
	if _, err := files.config(); err != nil { // before the driver reads them, whose errors quote the URI
		return nil, "", err
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
	if err := c.use(opts); err != nil {
		return nil, "", err
	}
	files.use(opts)
	return opts, database, nil
}

// badURI describes the error of a URI without the parser's text, which may quote
// credentials.
func badURI(err error) error {
	const text = "the MongoDB URI is not valid (it is not shown because it may contain a password)"
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%s: look up its hosts: %w", text, dns)
	}
	return errors.New(text + "; give mongodb://user:password@host:port/database?options with user and password percent-encoded")
}

// Package mongotest gives tests a database server that speaks MongoDB's wire
// protocol. Start with [Serve].
package mongotest

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// External returns the URI of the MongoDB server that the environment variable
// COUNTERSIGN_TEST_MONGODB_URI names, or "". Tests use it beside FerretDB or
// instead of it.
func External() string { return os.Getenv("COUNTERSIGN_TEST_MONGODB_URI") }

// Serve runs FerretDB in this process on a free port of 127.0.0.1, with its files
// in dir, until stop is called.
func Serve(dir string) (uri string, stop func() error, err error) {
	ferret, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return "", nil, fmt.Errorf("start FerretDB: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- ferret.Run(ctx) }()
	return ferret.MongoDBURI(), func() error {
		cancel()
		return <-stopped
	}, nil
}

package mongo_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/FerretDB/FerretDB/ferretdb"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

// server is a database server that the tests run against, and what it cannot
// honour.
type server struct {
	name   string
	uri    string
	limits []storetest.Limit
}

// servers are FerretDB, in this process and over the real wire protocol, and
// MongoDB where COUNTERSIGN_TEST_MONGODB_URI names one.
var servers []server

// ferretLimits is all that FerretDB v1.24 cannot honour. MongoDB has no limits.
var ferretLimits = []storetest.Limit{
	{Test: "request/advance race", Reason: "FerretDB's update reads, compares and writes in separate steps, so an older version may overwrite a newer one; " +
		"MongoDB updates one document atomically, and one workflow alone writes a request"},
	{Test: "session/session seen race", Reason: "for the same reason an older time may overwrite a newer one; it is a minute's difference in when a session lapses"},
}

func TestMain(m *testing.M) {
	code, err := withFerretDB(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start FerretDB:", err)
		code = 1
	}
	os.Exit(code)
}

// withFerretDB serves FerretDB from a folder of its own while run runs.
func withFerretDB(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "ferretdb")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	ferret, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- ferret.Run(ctx) }()
	servers = append(servers, server{"FerretDB", ferret.MongoDBURI(), ferretLimits})
	if uri := os.Getenv("COUNTERSIGN_TEST_MONGODB_URI"); uri != "" {
		servers = append(servers, server{"MongoDB", uri, nil})
	}
	code := run()
	stop()
	return code, <-stopped
}

// everywhere runs a test on every server.
func everywhere(t *testing.T, test func(t *testing.T, s server)) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) { test(t, s) })
	}
}

// database names a database of the test's own, which ends with the test, and
// gives it a client beside the store.
func (s server) database(t *testing.T) (uri string, raw *driver.Database) {
	t.Helper()
	name := "countersign_test_" + strings.TrimPrefix(engine.NewID(""), "_")
	client, err := driver.Connect(context.Background(), options.Client().ApplyURI(s.uri))
	if err != nil {
		t.Fatal(err)
	}
	raw = client.Database(name)
	t.Cleanup(func() {
		if err := raw.Drop(context.Background()); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
		if err := client.Disconnect(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return inDatabase(s.uri, name), raw
}

// inDatabase returns the URI with another database, and the credentials checked
// where they were.
func inDatabase(uri, name string) string {
	uri, query, _ := strings.Cut(uri, "?")
	scheme, rest, _ := strings.Cut(uri, "://")
	hosts, database, _ := strings.Cut(rest, "/")
	if database != "" && !strings.Contains(query, "authSource=") {
		query += "&authSource=" + url.QueryEscape(database)
	}
	return scheme + "://" + hosts + "/" + name + "?" + strings.TrimPrefix(query, "&")
}

// open opens a store that is closed with the test.
func open(t *testing.T, uri string) *mongo.Store {
	t.Helper()
	s, err := mongo.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	everywhere(t, func(t *testing.T, s server) {
		storetest.Run(t, func(t *testing.T) engine.Store {
			uri, _ := s.database(t)
			return open(t, uri)
		}, s.limits...)
	})
}

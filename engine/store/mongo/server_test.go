package mongo_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/store/mongo"
	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

// server is a database server that the tests run against, and the contracts that
// it cannot meet.
type server struct {
	name   string
	uri    string
	limits []storetest.Limit
}

// servers are FerretDB in this process and, if there is one, an external MongoDB.
var servers []server

// ferretLimits are the contracts that FerretDB v1.24 cannot meet. MongoDB meets all.
var ferretLimits = []storetest.Limit{
	{Test: "request/advance race", Reason: "FerretDB's update reads, compares and writes in separate steps, so an older version may overwrite a newer one; " +
		"MongoDB updates one document atomically, and one workflow alone writes a request"},
	{Test: "session/session touch race", Reason: "for the same reason an older time may overwrite a newer one; a session may then expire a minute too early"},
}

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "ferretdb")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	uri, stop, err := mongotest.Serve(dir)
	if err != nil {
		return 0, err
	}
	servers = append(servers, server{"FerretDB", uri, ferretLimits})
	if uri := mongotest.External(); uri != "" {
		servers = append(servers, server{"MongoDB", uri, nil})
	}
	code = m.Run()
	return code, stop()
}

// onEveryServer runs a test on every server.
func onEveryServer(t *testing.T, test func(t *testing.T, s server)) {
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

// Every command of the contract is served by an index, and none sorts. Only the check of
// the columns, and what carries documents to another store, read whole collections.
func TestContract(t *testing.T) {
	onEveryServer(t, func(t *testing.T, s server) {
		commands := &shapes{seen: map[string]shape{}}
		storetest.Run(t, func(t *testing.T) engine.Store {
			uri, _ := s.database(t)
			if strings.HasSuffix(t.Name(), "/copies") {
				return open(t, uri)
			}
			return commands.monitored(t, uri)
		}, s.limits...)
		commands.served(t)
	})
}

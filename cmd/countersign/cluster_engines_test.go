//go:build cluster

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// The tests of this kind run several nodes on a Temporal service and a server of
// MongoDB's protocol that are processes of their own, on PostgreSQL. The variables
// COUNTERSIGN_TEST_MONGODB_URI and COUNTERSIGN_TEST_TEMPORAL_ADDRESS name other
// servers to use instead; what stops a server is then left out, by name.
//
// FerretDB v1 has no atomic updates and no transactions, and answers a query by reading
// the collection. So these tests show what rests on an insert with a unique id, which it
// does honour: tokens, decisions, and entries of the audit log. They do not show atomic
// updates, and their figures are not those of a server with indexes.

// engines are the servers that the nodes of all tests use. A process is nil if the
// server is another's.
type engines struct {
	dir                         string
	postgresPort                int
	postgres, temporal, mongodb *process
	temporalAddress             string
	mongoURI                    string // without a database
}

var theEngines *engines

// startEngines starts the servers for all tests, with the first that needs them.
func startEngines(t *testing.T) *engines {
	t.Helper()
	if theEngines != nil {
		return theEngines
	}
	dir, err := os.MkdirTemp("", "countersign-cluster-")
	noError(t, err)
	noError(t, os.Chmod(dir, 0o711)) //nolint:gosec // PostgreSQL's user has its folder in it
	afterTests = append(afterTests, func() { _ = os.RemoveAll(dir) })
	e := &engines{dir: dir, temporalAddress: os.Getenv("COUNTERSIGN_TEST_TEMPORAL_ADDRESS"), mongoURI: mongotest.External()}
	if e.temporalAddress == "" || e.mongoURI == "" {
		e.startPostgres(t)
	}
	if e.mongoURI == "" {
		e.startFerretDB(t)
	}
	if e.temporalAddress == "" {
		e.startTemporal(t)
	}
	theEngines = e
	return e
}

// startPostgres starts PostgreSQL with the durability that it has by default.
func (e *engines) startPostgres(t *testing.T) {
	t.Helper()
	owner, data := &syscall.SysProcAttr{}, filepath.Join(e.dir, "postgresql")
	noError(t, os.Mkdir(data, 0o700))
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		noError(t, err)
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		noError(t, err)
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		noError(t, err)
		owner.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		noError(t, os.Chown(data, int(uid), int(gid)))
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(postgresProgram(t, name), args...)
		attributes := *owner
		cmd.SysProcAttr, cmd.Dir = &attributes, data
		return cmd
	}
	if out, err := command("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	e.postgresPort = freePorts(t, 1)[0]
	port := strconv.Itoa(e.postgresPort)
	e.postgres = startProcess(t, e.dir, "postgres", syscall.SIGINT, func() *exec.Cmd {
		return command("postgres", "-D", data, "-p", port, "-h", "127.0.0.1", "-k", "", "-c", "max_connections=120")
	})
	e.awaitPostgres(t)
}

func (e *engines) awaitPostgres(t *testing.T) {
	t.Helper()
	e.postgres.await(t, func() bool {
		return exec.Command(postgresProgram(t, "pg_isready"), "-h", "127.0.0.1", "-p", strconv.Itoa(e.postgresPort), "-U", "postgres").Run() == nil
	})
}

// postgresProgram finds a program of PostgreSQL, which Debian keeps outside PATH.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	noError(t, err)
	if path, err := exec.LookPath(name); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Fatalf("%s is missing: install PostgreSQL (Debian: apt-get install postgresql)", name)
	}
	return found[0]
}

// clusterProgram is a program that make test-cluster builds.
func clusterProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../bin/cluster", name))
	noError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run make test-cluster", path)
	}
	return path
}

// sql runs Temporal's tool for databases.
func (e *engines) sql(t *testing.T, database string, args ...string) {
	t.Helper()
	run(t, nil, clusterProgram(t, "temporal-sql-tool"), append([]string{
		"--plugin", "postgres12", "--ep", "127.0.0.1", "-p", strconv.Itoa(e.postgresPort), "-u", "postgres", "--db", database,
	}, args...)...)
}

// ferretVariable makes this test program a FerretDB server on the PostgreSQL server of
// that URL. FerretDB's own program cannot be used: built as a dependency it lacks the
// file with its version, and ends with a panic.
const ferretVariable, ferretListenVariable = "COUNTERSIGN_TEST_FERRETDB_ON", "COUNTERSIGN_TEST_FERRETDB_LISTEN"

func init() {
	url := os.Getenv(ferretVariable)
	if url == "" {
		return
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: os.Getenv(ferretListenVariable)}, Handler: "postgresql", PostgreSQLURL: url,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		err = server.Run(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (e *engines) startFerretDB(t *testing.T) {
	t.Helper()
	e.sql(t, "ferretdb", "create-database")
	program, err := os.Executable()
	noError(t, err)
	listen := loopback(freePorts(t, 1)[0])
	e.mongodb = startProcess(t, e.dir, "ferretdb", syscall.SIGKILL, func() *exec.Cmd {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), ferretListenVariable+"="+listen,
			fmt.Sprintf("%s=postgres://postgres@127.0.0.1:%d/ferretdb?pool_max_conns=40", ferretVariable, e.postgresPort))
		return cmd
	})
	e.mongoURI = "mongodb://" + listen + "/"
	e.awaitMongoDB(t)
}

func (e *engines) awaitMongoDB(t *testing.T) {
	t.Helper()
	c, err := driver.Connect(t.Context(), options.Client().ApplyURI(e.mongoURI).SetServerSelectionTimeout(time.Second))
	noError(t, err)
	defer func() { noError(t, c.Disconnect(context.Background())) }()
	answers := func() bool { return c.Ping(t.Context(), nil) == nil }
	if e.mongodb == nil {
		eventually(t, "an answer of MongoDB", answers)
		return
	}
	e.mongodb.await(t, answers)
}

// temporalServices are the services of one Temporal process. The first value is another
// part's; the others are eight ports.
const temporalServices = `services:
  frontend: {rpc: {grpcPort: %[2]d, membershipPort: %[3]d, bindOnLocalHost: true}}
  history: {rpc: {grpcPort: %[4]d, membershipPort: %[5]d, bindOnLocalHost: true}}
  matching: {rpc: {grpcPort: %[6]d, membershipPort: %[7]d, bindOnLocalHost: true}}
  worker: {rpc: {grpcPort: %[8]d, membershipPort: %[9]d, bindOnLocalHost: true}}
clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active: {enabled: true, initialFailoverVersion: 1, rpcName: frontend, rpcAddress: "127.0.0.1:%[2]d"}
`

const temporalConfig = `
log: {stdout: true, level: warn}
persistence:
  defaultStore: default
  visibilityStore: visibility
  numHistoryShards: 4
  datastores:
    default: {sql: {pluginName: postgres12, databaseName: temporal, connectAddr: "127.0.0.1:%[1]d", connectProtocol: tcp, user: postgres, maxConns: 20, maxIdleConns: 20}}
    visibility: {sql: {pluginName: postgres12, databaseName: temporal_visibility, connectAddr: "127.0.0.1:%[1]d", connectProtocol: tcp, user: postgres, maxConns: 5, maxIdleConns: 5}}
global:
  membership: {maxJoinDuration: 30s, broadcastAddress: 127.0.0.1}
` + temporalServices

func (e *engines) startTemporal(t *testing.T) {
	t.Helper()
	e.createTemporalDatabases(t)
	ports := []any{e.postgresPort}
	for _, p := range freePorts(t, 8) {
		ports = append(ports, p)
	}
	file := filepath.Join(e.dir, "temporal.yaml")
	noError(t, os.WriteFile(file, fmt.Appendf(nil, temporalConfig, ports...), 0o600))
	program := clusterProgram(t, "temporal-server")
	e.temporal = startProcess(t, e.dir, "temporal", syscall.SIGTERM, func() *exec.Cmd {
		return exec.Command(program, "--config-file", file, "--allow-no-auth", "start")
	})
	e.temporalAddress = loopback(ports[1].(int))
	e.awaitTemporal(t)
}

// createTemporalDatabases makes Temporal's databases by the schemas of its module.
func (e *engines) createTemporalDatabases(t *testing.T) {
	t.Helper()
	module := strings.TrimSpace(run(t, nil, "go", "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/server"))
	for database, schema := range map[string]string{"temporal": "temporal", "temporal_visibility": "visibility"} {
		e.sql(t, database, "create-database")
		e.sql(t, database, "setup-schema", "-v", "0.0")
		e.sql(t, database, "update-schema", "-d", filepath.Join(module, "schema/postgresql/v12", schema, "versioned"))
	}
}

// temporalOptions are those of a client of a namespace, which logs nothing.
func (e *engines) temporalOptions(namespace string) client.Options {
	return client.Options{HostPort: e.temporalAddress, Namespace: namespace, Logger: sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))}
}

func (e *engines) awaitTemporal(t *testing.T) {
	t.Helper()
	c, err := client.NewNamespaceClient(e.temporalOptions(""))
	noError(t, err)
	defer c.Close()
	answers := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.Describe(ctx, "temporal-system")
		return err == nil
	}
	if e.temporal == nil {
		eventually(t, "an answer of Temporal", answers)
		return
	}
	e.temporal.await(t, answers)
}

// makeNamespace makes a namespace of Temporal, and waits until it can be used.
func (e *engines) makeNamespace(t *testing.T, name string) {
	t.Helper()
	c, err := client.NewNamespaceClient(e.temporalOptions(""))
	noError(t, err)
	defer c.Close()
	eventually(t, "a new namespace", func() bool {
		err := c.Register(t.Context(), &workflowservice.RegisterNamespaceRequest{
			Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(72 * time.Hour),
		})
		_, exists := err.(*serviceerror.NamespaceAlreadyExists) //nolint:errorlint // the SDK does not wrap it
		return err == nil || exists
	})
	user, err := client.NewLazyClient(e.temporalOptions(name))
	noError(t, err)
	defer user.Close()
	eventually(t, "a namespace that Temporal knows everywhere", func() bool {
		_, err := user.ScheduleClient().List(t.Context(), client.ScheduleListOptions{PageSize: 1})
		if err != nil {
			return false
		}
		_, err = user.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Namespace: name})
		return err == nil
	})
}

// processes are the servers of this test program.
func (e *engines) processes() []*process {
	return slices.DeleteFunc([]*process{e.postgres, e.temporal, e.mongodb}, func(p *process) bool { return p == nil })
}

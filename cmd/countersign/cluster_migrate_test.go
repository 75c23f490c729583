//go:build cluster

package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// A migration with --to-temporal leaves nothing to do but to start nodes: requests have
// their workflows before a node runs, and what waited is approved and claimed. It may be
// interrupted and repeated, and another Temporal is refused then.
func TestClusterMigrateToTemporal(t *testing.T) {
	c, base := newCluster(t, 1), t.TempDir()
	data := filepath.Join(base, "data")
	s := startSmall(t, binary(t), data)
	p := s.promises(1, 0)
	s.stop()
	key := filepath.Join(data, "keys", "local.key")
	to := []string{"COUNTERSIGN_MIGRATE_TO_MONGODB=" + c.uri}
	flags := func(namespace string) []string {
		return []string{"--data", data, "--to-temporal", c.engines.temporalAddress, "--temporal-namespace", namespace}
	}

	out, err := migration(t, "", to, append(flags("missing"), "--wait", "0s")...)
	if err == nil || !strings.Contains(out, "temporal operator namespace create") || c.count("users") != 0 {
		t.Fatalf("a namespace that is missing: %d users are copied, %v\n%s", c.count("users"), err, out)
	}
	for _, at := range []string{"migrated-data_keys", "migrated-bound"} {
		_, _ = migration(t, at, to, flags(c.namespace)...)
	}
	for range 2 {
		out, err = migration(t, "", to, flags(c.namespace)...)
		if err != nil || !strings.Contains(out, "5 requests have not ended, and each has a workflow in the namespace "+c.namespace) {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	c.runsResumed(5)

	serve := func(data string, more ...string) *exec.Cmd {
		cmd := exec.Command(binary(t), append([]string{"serve", "--data", data, "--keeper-file", key, "--listen", "127.0.0.1:0", "--listen-admin="}, more...)...)
		cmd.Env = append(os.Environ(), "COUNTERSIGN_MONGODB_URI="+c.uri)
		return cmd
	}
	if out, err := serve(filepath.Join(base, "other")).CombinedOutput(); err == nil || !strings.Contains(string(out), "run in the Temporal namespace") {
		t.Errorf("a start on another Temporal: %v\n%s", err, out)
	}
	cmd := serve(filepath.Join(base, "node"), "--temporal-address", c.engines.temporalAddress, "--temporal-namespace", c.namespace, "--public-url", "")
	node := serveOn(t, cmd, filepath.Join(base, "bootstrap.json"))
	node.dir, node.mongoURI, node.keyFile, node.boot = filepath.Join(base, "node"), c.uri, key, p.boot
	node.once("a live token of before", p.live[0].Token)
	node.refused("approve", http.StatusOK, "")(node.decide("approver", p.pending[0], "approve"))
	node.claimsAndFetches(p.pending[0])
	node.claimsAndFetches(p.claimed)
	eventually(t, "the requests to end", func() bool {
		return node.status(p.live[0].RequestID) == "consumed" && node.status(p.pending[0].RequestID) == "consumed" && node.status(p.claimed.RequestID) == "consumed"
	})
	node.agreed()
}

// count is how many documents a collection of the cluster's database has.
func (c *cluster) count(collection string) int64 {
	c.t.Helper()
	db, err := driver.Connect(c.t.Context(), options.Client().ApplyURI(c.uri))
	noError(c.t, err)
	defer func() { noError(c.t, db.Disconnect(context.Background())) }()
	n, err := db.Database(c.namespace).Collection(collection).CountDocuments(c.t.Context(), bson.D{})
	noError(c.t, err)
	return n
}

// runsResumed waits until so many requests have a workflow, while no node runs.
func (c *cluster) runsResumed(want int64) {
	c.t.Helper()
	temporal, err := client.Dial(c.engines.temporalOptions(c.namespace))
	noError(c.t, err)
	defer temporal.Close()
	eventually(c.t, "workflows of the requests", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		n, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Namespace: c.namespace, Query: `ExecutionStatus = "Running" AND TaskQueue = "countersign" AND WorkflowType = "ResumeDownload"`,
		})
		noError(c.t, err)
		return n.Count == want
	})
}

//go:build cluster

package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// The procedure of deploy/README.md for MongoDB and Temporal: the database is backed up
// under load, then all nodes, the database and what Temporal knew are lost. Other machines
// get the backup, the key file and the configuration; the anchor is kept elsewhere. Nothing
// that was used can be used again, every request ends, and the audit log says so.
//
// FerretDB keeps the database in a schema of PostgreSQL, of which pg_dump has one moment,
// as mongodump --oplog or a snapshot has of MongoDB.
func TestClusterABackupIsRestoredOnOtherMachines(t *testing.T) {
	wholeOnly(t)
	e := startEngines(t)
	own(t, e.postgres, "PostgreSQL")
	ferretdb := own(t, e.mongodb, "MongoDB")
	anchor := filepath.Join(t.TempDir(), "anchor.json")
	flags := []string{"--anchor-url", anchor, "--anchor-interval", "1s"}
	c := startCluster(t, flags...)
	c.allow()
	l := newLedger()
	consumed := l.mint(c.nodes[0])
	if status := l.redeem(c.nodes[1], consumed); status != http.StatusOK {
		t.Fatalf("download: %d", status)
	}
	eventually(t, "a consumed request", func() bool { return c.first.status(consumed.requestID) == "consumed" })
	c.leavesOpen(l, 8)
	requests := c.requests()
	used, unused := l.promises[1], l.promises[2]

	stop := c.load(4)
	hold(calm)
	backup := e.postgresTool(t, nil, "pg_dump", "--schema", c.namespace, "ferretdb")
	if status := l.redeem(c.nodes[1], used); status != http.StatusOK {
		t.Fatalf("download after the backup: %d", status)
	}
	unknown := l.mint(c.nodes[0])
	hold(calm)
	l.add(stop())
	c.anchored(anchor)
	r := c.restoredElsewhere(backup, ferretdb)

	r.gives(consumed, http.StatusGone, engine.CodeTokenConsumed)
	r.gives(used, http.StatusGone, engine.CodeTokenRevoked)
	r.gives(unused, http.StatusGone, engine.CodeTokenRevoked)
	r.gives(unknown, http.StatusNotFound, engine.CodeTokenUnknown)
	for i, p := range l.promises {
		if status, _ := r.nodes[i%2].fetch(p.token); status != http.StatusGone && status != http.StatusNotFound {
			t.Errorf("request %s: a token of before the restore is answered %d", p.requestID, status)
		}
	}
	eventually(t, "an end of every request", func() bool { return len(r.open()) == 0 })
	for _, before := range requests {
		want := map[string]string{"consumed": "consumed", "issued": "revoked", "approved": "cancelled", "pending_approval": "cancelled"}[before.Status]
		if status := r.first.status(before.ID); status != want {
			t.Errorf("request %s was %s and is %s, want %s", before.ID, before.Status, status, want)
		}
	}
	r.first.hasEntries(engine.ActionRestoreAccepted, 2)
	after := newLedger()
	r.leavesOpen(after, 4)
	r.settled(after)
}

// restoredElsewhere loses the nodes and the database, and starts other nodes on another
// database from a backup, with a Temporal namespace that is empty. Only the key file and
// what is in the flags is that of before.
func (c *cluster) restoredElsewhere(backup []byte, ferretdb *process) *cluster {
	t, e := c.t, c.engines
	t.Helper()
	for _, n := range c.nodes {
		n.kill()
	}
	e.postgresTool(t, nil, "psql", "-c", `DROP SCHEMA "`+c.namespace+`" CASCADE`, "ferretdb")

	r := newCluster(t, len(c.nodes), c.first.flags...)
	e.postgresTool(t, backup, "psql", "-v", "ON_ERROR_STOP=1", "ferretdb")
	e.postgresTool(t, nil, "psql", "-c", `ALTER SCHEMA "`+c.namespace+`" RENAME TO "`+r.namespace+`"`, "ferretdb")
	ferretdb.end(syscall.SIGKILL) // it remembers which databases there are
	ferretdb.start(t)
	e.awaitMongoDB(t)
	copyOf(t, filepath.Join(c.first.dir, "keys", "local.key"), filepath.Join(r.first.dir, "keys", "local.key"))
	copyOf(t, filepath.Join(c.dir, "bootstrap.json"), filepath.Join(r.dir, "bootstrap.json"))
	for _, n := range c.nodes {
		noError(t, os.RemoveAll(n.dir))
	}
	r.acceptsRestore(c.first.boot)
	return r
}

// postgresTool runs a program of PostgreSQL on the servers' PostgreSQL, and returns what it
// prints.
func (e *engines) postgresTool(t *testing.T, stdin []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), postgresProgram(t, name), append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(e.postgresPort), "-U", "postgres"}, args...)...)
	var problems bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, problems.Bytes())
	}
	return out
}

// anchored waits until an anchor was written after now.
func (c *cluster) anchored(file string) {
	c.t.Helper()
	now := time.Now()
	eventually(c.t, "an anchor", func() bool {
		info, err := os.Stat(file)
		return err == nil && info.ModTime().After(now)
	})
}

// acceptsRestore starts the nodes on a restored database and a Temporal namespace that does
// not know it. Starts that do not accept both are refused, and name the flag.
func (c *cluster) acceptsRestore(boot bootstrapFile) {
	c.t.Helper()
	n := c.first
	start := n.command()
	env := start.Env[len(os.Environ()):]
	refusesStart(c.t, "start once with --accept-restore", env, start.Args[2:]...)
	refusesStart(c.t, "--accept-temporal", env, append(start.Args[2:], "--accept-restore")...)
	without := n.flags
	n.flags = append(without, "--accept-restore", "--accept-temporal")
	n.start()
	n.flags = without
	c.nodes[1].start()
	for _, n := range c.nodes {
		n.boot = boot
	}
}

// gives checks how a node answers a redemption.
func (c *cluster) gives(p *promise, want int, code engine.Code) {
	c.t.Helper()
	c.first.refused("a token of before the restore", want, string(code))(c.nodes[1].fetch(p.token))
}

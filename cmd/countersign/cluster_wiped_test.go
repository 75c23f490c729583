//go:build cluster

package main

import (
	"net/http"
	"syscall"
	"testing"
)

// The store is authoritative: under running nodes Temporal begins anew with an empty
// database, and nothing that was promised is lost.
func TestClusterAWipedTemporalCostsNothingThatWasPromised(t *testing.T) {
	wholeOnly(t)
	c := startCluster(t)
	c.allow()
	p := own(t, c.engines.temporal, "Temporal")
	l := newLedger()
	for i := range 10 { // each needs an approval, and some have it
		n := c.nodes[i%2]
		status, body := l.did("mint", func() (int, []byte) { return n.tryMint("key") })
		if status != http.StatusAccepted {
			t.Fatalf("%d %s", status, body)
		}
		pending := decoded[struct {
			RequestID  string `json:"request_id"`
			ApprovalID string `json:"approval_id"`
		}](t, body)
		l.accepted = append(l.accepted, pending.RequestID)
		if i%4 > 1 {
			if status, body := n.vote(pending.ApprovalID); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
		}
		l.promised(c.nodes[i%2].mint(0, "fullchain")) // lives until after the start of the new Temporal
	}
	p.end(syscall.SIGKILL)
	for _, database := range []string{"temporal", "temporal_visibility"} {
		c.engines.sql(t, database, "drop-database", "--force")
	}
	c.engines.createTemporalDatabases(t)
	p.start(t)
	c.engines.awaitTemporal(t)
	c.engines.makeNamespace(t, c.namespace)
	c.settled(l)
}

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
	c.leavesOpen(l, 10)
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

// leavesOpen makes requests that have not ended: some wait for an approval, some have it,
// and as many have a token that lives for longer than the test.
func (c *cluster) leavesOpen(l *ledger, many int) {
	t := c.t
	t.Helper()
	for i := range many {
		n := c.nodes[i%len(c.nodes)]
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
		l.promised(n.mint(0, "fullchain"))
	}
}

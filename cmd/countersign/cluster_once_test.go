//go:build cluster

package main

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine/store/mongo/mongotest"
)

// fetchersOn are fetchers that are spread over the nodes.
func (c *cluster) fetchers(n int, token string) map[string]int {
	all := make([]map[string]int, len(c.nodes))
	var wg sync.WaitGroup
	for i, node := range c.nodes {
		wg.Go(func() { all[i] = fetchers(node.server, n/len(c.nodes), token) })
	}
	wg.Wait()
	sum := map[string]int{}
	for _, answers := range all {
		for a, count := range answers {
			sum[a] += count
		}
	}
	return sum
}

// inDatabases calls run for n of something, in a new database after every 250: FerretDB
// reads all tokens to find one. A server that uses indexes gets them all at once.
func inDatabases(t *testing.T, n int, run func(c *cluster, n int)) {
	most := n
	if mongotest.External() == "" {
		most = 250
	}
	for begun := 0; begun < n; begun += most {
		t.Run(fmt.Sprintf("from %d", begun), func(t *testing.T) {
			c := startCluster(t)
			c.allow()
			run(c, min(most, n-begun))
		})
	}
}

func TestClusterOneOfManyCallersOnTwoNodesGetsTheFile(t *testing.T) {
	inDatabases(t, times(10, 200), oneOfManyCallersGetsTheFile)
}

func oneOfManyCallersGetsTheFile(c *cluster, tokens int) {
	const callers = 64
	sum := map[string]int{}
	for i := range tokens {
		token, given := newLedger().mint(c.nodes[i%2]).token, 0
		for given == 0 { // all may be told to try again
			got := c.fetchers(callers, token)
			given = got["200 "]
			if given > 1 || given+got["410 token_consumed"]+got["503 unavailable"] != callers || given == 0 && got["410 token_consumed"] > 0 {
				c.t.Fatalf("%d callers on two nodes, one token: %v", callers, got)
			}
			for answer, count := range got {
				sum[answer] += count
			}
		}
	}
	c.t.Logf("%d tokens, %d callers each: %v", tokens, callers, sum)
	if n := c.nodes[0].auditOK(); n < 2*tokens+subjectRefusals {
		c.t.Errorf("%d audit entries for %d requests, their downloads, and some of the other calls' refusals", n, tokens)
	}
}

// What an answer promises is stored before it is given: another node redeems a token
// at once, whichever node's worker took the decision. A call that finds the store busy
// is told so.
func TestClusterAMintedTokenWorksAtOnceOnTheOtherNode(t *testing.T) {
	inDatabases(t, times(64, 5000), mintedTokensWorkOnTheOtherNode)
}

func mintedTokensWorkOnTheOtherNode(c *cluster, mints int) {
	l := newLedger()
	timed(32, mints, func(i int) { l.redeem(c.nodes[(i+1)%2], l.mint(c.nodes[i%2])) })
	c.t.Logf("%d mints, each fetched at once from the other node:\n%s", mints, l.table())
	delivered := 0
	for _, p := range l.promises {
		delivered += p.delivered
		if p.delivered+p.unclear != 1 {
			c.t.Errorf("request %s: its token did not work on the other node", p.requestID)
		}
	}
	if delivered == 0 {
		c.t.Error("no file was given")
	}
	eventually(c.t, "the record of each settlement to be complete", func() bool {
		status, body := c.nodes[0].call("admin", http.MethodGet, c.nodes[0].project()+"/audit-logs/verify", "")
		return status == http.StatusOK && decoded[wire.AuditVerdict](c.t, body).OK
	})
	c.nodes[0].auditOK()
}

// mint mints, again after a while if the node has too much to do.
func (l *ledger) mint(on *node) *promise {
	for {
		status, body := l.did("mint", func() (int, []byte) { return on.tryMintFor("fullchain", 3600) })
		if status == http.StatusCreated {
			return l.promised(decoded[minted](on.cluster.t, body))
		}
		if status != http.StatusServiceUnavailable {
			on.cluster.t.Fatalf("mint: %d %s", status, body)
		}
		hold(time.Second)
	}
}

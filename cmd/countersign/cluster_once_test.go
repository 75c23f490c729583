//go:build cluster

package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
	inDatabases(t, clusterTimes(10, 200), oneOfManyCallersGetsTheFile)
}

func oneOfManyCallersGetsTheFile(c *cluster, tokens int) {
	const callers = 64
	sum := map[string]int{}
	for i := range tokens {
		got := c.fetchers(callers, c.nodes[i%2].mint(0, "fullchain").Token)
		if got["200 "] != 1 || got["410 token_consumed"]+got["503 unavailable"] != callers-1 {
			c.t.Fatalf("%d callers on two nodes, one token: %v", callers, got)
		}
		for answer, count := range got {
			sum[answer] += count
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
	inDatabases(t, clusterTimes(64, 5000), mintedTokensWorkOnTheOtherNode)
}

func mintedTokensWorkOnTheOtherNode(c *cluster, mints int) {
	const callers = 32
	var next atomic.Int64
	var wg sync.WaitGroup
	answers := make(chan string, mints)
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(mints); i = next.Add(1) {
				on, other := c.nodes[i%2], c.nodes[(i+1)%2]
				answers <- on.mintAndFetch(other)
			}
		})
	}
	wg.Wait()
	close(answers)
	got, untrue := map[string]int{}, 0
	for a := range answers {
		if got[a]++; a != "201 200" && !strings.Contains(a, " 503 ") {
			untrue++
		}
	}
	c.t.Logf("%d mints, each fetched at once from the other node: %v", mints, got)
	if untrue > 0 || got["201 200"] == 0 {
		c.t.Fatalf("%d answers were not true", untrue)
	}
	eventually(c.t, "the record of each settlement to be complete", func() bool {
		status, body := c.nodes[0].call("admin", http.MethodGet, c.nodes[0].project()+"/audit-logs/verify", "")
		return status == http.StatusOK && decoded[wire.AuditVerdict](c.t, body).OK
	})
	c.nodes[0].auditOK()
}

func (n *node) mintAndFetch(other *node) string {
	status, body := n.tryMint("fullchain")
	if status != http.StatusCreated {
		return fmt.Sprint("mint ", status, " ", problem(body).Code)
	}
	m := decoded[minted](n.t, body)
	status, body = other.fetch(m.Token)
	if status != http.StatusOK {
		return fmt.Sprint("201 ", status, " ", problem(body).Code)
	}
	return "201 200"
}

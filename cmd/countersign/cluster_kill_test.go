//go:build cluster

package main

import (
	"fmt"
	"testing"
)

// Each place at which a crash could lose something, on each node, under load.
func TestClusterAKilledNodeLosesNothing(t *testing.T) {
	for _, point := range []string{"consumed", "rendered", "transition-stored"} {
		for i := range 2 {
			t.Run(fmt.Sprintf("%s on node %d", point, i), func(t *testing.T) {
				if point != "consumed" || i != 1 {
					wholeOnly(t)
				}
				c := startCluster(t)
				c.allow()
				n := c.nodes[i]
				ledgers := newLedger()
				for range times(1, 20) {
					ledgers.add(c.killedAt(n, point))
				}
				t.Logf("what callers got:\n%s", ledgers.table())
				c.settled(ledgers)
			})
		}
	}
}

// killedAt restarts a node so that it is killed at a place, gives both nodes load until
// it is, and starts it again.
func (c *cluster) killedAt(n *node, point string) *ledger {
	n.stop()
	n.restart("COUNTERSIGN_FAILPOINT=" + point)
	stop := c.load(4)
	eventually(c.t, "a kill at "+point, func() bool {
		select {
		case <-n.ended:
			return true
		default:
			return false
		}
	})
	l := stop()
	n.restart()
	return l
}

// add adds what other callers were told.
func (l *ledger) add(other *ledger) {
	for kind, a := range other.answers {
		sum := l.answers[kind]
		if sum == nil {
			sum = &answer{}
			l.answers[kind] = sum
		}
		sum.count, sum.longest = sum.count+a.count, max(sum.longest, a.longest)
	}
	l.promises, l.accepted = append(l.promises, other.promises...), append(l.accepted, other.accepted...)
}

//go:build cluster

package main

import "testing"

// An installation of the release before is upgraded node by node, and one node goes back.
// Each step is a load in which one version mints, votes, claims or redeems what the other
// one has begun. Nothing is lost, given twice, unrecorded or stuck. That no call fails is
// tested of this version alone: nobody can mend the one of before.
//
// The users are made by this version, on the database of nodes of the version before.
func TestClusterAnUpgradeNodeByNodeLosesNothing(t *testing.T) {
	wholeOnly(t)
	old := before(t)
	c := newCluster(t, 2, "--drain", "3s")
	for _, n := range c.nodes {
		n.program = old
	}
	c.start()
	c.allow()
	l := newLedger()
	c.leavesOpen(l, 8)
	c.restarted(l, restart{node: 0, calm: calm}, restart{node: 1, calm: calm}, restart{1, old, calm})
	c.settled(l)
}

package storetest

import (
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// ForwardingPositions checks that a store of positions keeps them. If nodes share it, one
// node at a time has the turn to send.
func ForwardingPositions(t *testing.T, p engine.ForwardingPositions, shared bool) {
	t.Helper()
	ctx := t.Context()
	receiver := engine.NewID("receiver")
	turn := func(node string, until, now time.Duration) engine.ForwardingTurn {
		t.Helper()
		return get[engine.ForwardingTurn](t)(p.TakeForwardingTurn(ctx, engine.ForwardingTurn{
			Receiver: receiver, Node: node, Until: noon.Add(until), CaughtUp: noon.Add(now),
		}, noon.Add(now)))
	}
	first := turn("node_a", time.Minute, 0)
	same(t, first, engine.ForwardingTurn{Receiver: receiver, Node: "node_a", Until: noon.Add(time.Minute), CaughtUp: noon})
	same(t, get[engine.ForwardingTurn](t)(p.TakeForwardingTurn(ctx, engine.ForwardingTurn{Receiver: receiver, Node: "node_a", Until: noon.Add(time.Minute)}, noon)), first)
	if shared {
		same(t, turn("node_b", 2*time.Minute, 30*time.Second), first)
		same(t, turn("node_a", 2*time.Minute, 30*time.Second).Until, noon.Add(2*time.Minute))
		same(t, turn("node_b", 3*time.Minute, time.Minute).Node, "node_a")
		same(t, turn("node_b", 3*time.Minute, 2*time.Minute).Node, "node_b")
		same(t, turn("node_a", 4*time.Minute, 2*time.Minute).Node, "node_b")
		same(t, turn("node_b", 2*time.Minute, 2*time.Minute).Node, "node_b") // it ends its turn
		same(t, turn("node_a", 4*time.Minute, 2*time.Minute).Node, "node_a")
	}
	forwarded := func() map[string]engine.AuditHead {
		return get[map[string]engine.AuditHead](t)(p.Forwarded(ctx, receiver))
	}
	same(t, forwarded(), map[string]engine.AuditHead{})
	ok(t, p.SetForwarded(ctx, receiver, map[string]engine.AuditHead{"proj_a": {Seq: 2, Hash: "x"}, "system": {Seq: 9, Hash: "y"}}))
	ok(t, p.SetForwarded(ctx, receiver, map[string]engine.AuditHead{"proj_a": {Seq: 3, Hash: "z"}}))
	same(t, forwarded(), map[string]engine.AuditHead{"proj_a": {Seq: 3, Hash: "z"}, "system": {Seq: 9, Hash: "y"}})
	if shared { // a node whose turn was over does not take a position back
		ok(t, p.SetForwarded(ctx, receiver, map[string]engine.AuditHead{"proj_a": {Seq: 2, Hash: "x"}}))
		same(t, forwarded()["proj_a"], engine.AuditHead{Seq: 3, Hash: "z"})
	}
	for range 2 {
		ok(t, p.ForgetForwarded(ctx, receiver, "proj_a"))
	}
	same(t, forwarded(), map[string]engine.AuditHead{"system": {Seq: 9, Hash: "y"}})
}

package storetest

import (
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var nodeContracts = []contract{
	{"put, list and remove", nodes},
}

func nodes(t *testing.T, s engine.Store) {
	ctx := t.Context()
	mine := func() (found []engine.Node) {
		for _, n := range get[[]engine.Node](t)(s.Nodes(ctx)) {
			if n.Host == t.Name() {
				found = append(found, n)
			}
		}
		return found
	}
	a := engine.Node{ID: "a" + engine.NewID("node"), Host: t.Name(), SeenAt: noon, Settings: map[string]string{"policy rules": "1"}}
	b := engine.Node{ID: "b" + engine.NewID("node"), Host: t.Name(), SeenAt: noon, Settings: map[string]string{}}
	ok(t, s.PutNode(ctx, b))
	ok(t, s.PutNode(ctx, a))
	a.SeenAt, a.Settings = noon.Add(time.Minute), map[string]string{"policy rules": "2"}
	ok(t, s.PutNode(ctx, a))
	same(t, mine(), []engine.Node{a, b})
	for range 2 {
		ok(t, s.RemoveNode(ctx, a.ID))
	}
	same(t, mine(), []engine.Node{b})
	ok(t, s.RemoveNode(ctx, b.ID))
}

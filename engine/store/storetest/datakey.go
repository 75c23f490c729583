package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

var dataKeyContracts = []contract{
	{"first decides", dataKeyFirst},
	{"race", dataKeyRace},
}

func newDataKey(fill byte) engine.SealedKey {
	return engine.SealedKey{KeeperID: "local", WrappedKey: []byte{fill, 0, 255}, Ciphertext: []byte{fill}}
}

func dataKeyFirst(t *testing.T, s engine.Store) {
	ctx, id := t.Context(), engine.NewID("dk")
	_, err := s.StoredDataKey(ctx, id)
	refused(t, err, engine.CodeNotFound)
	first := newDataKey(1)
	same(t, get[engine.SealedKey](t)(s.DataKey(ctx, id, first)), first)
	same(t, get[engine.SealedKey](t)(s.DataKey(ctx, id, newDataKey(2))), first)
	same(t, get[engine.SealedKey](t)(s.StoredDataKey(ctx, id)), first)
	other := engine.NewID("dk")
	same(t, get[engine.SealedKey](t)(s.DataKey(ctx, other, newDataKey(3))), newDataKey(3))
}

func dataKeyRace(t *testing.T, s engine.Store) {
	type answer struct {
		key engine.SealedKey
		err error
	}
	id := engine.NewID("dk")
	answers := together(16, func(i int) answer {
		key, err := s.DataKey(t.Context(), id, newDataKey(byte(i+1)))
		return answer{key, err}
	})
	for _, a := range answers {
		ok(t, a.err)
		same(t, a.key, answers[0].key)
	}
}

package storetest

import (
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

var dataKeyContracts = []contract{
	{"first decides", dataKeyFirst},
	{"race", dataKeyRace},
	{"wrapping replaced", replaceWrapping},
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

// The wrapping of a secret is replaced by who knows the present one: another run that saw
// it before is refused, and changes nothing.
func replaceWrapping(t *testing.T, s engine.Store) {
	ctx, project := t.Context(), engine.NewID("prj")
	c, target, key := newCertificate(project, "www"), newTarget(project), engine.NewID("dk")
	c.HasPrivateKey = true
	ok(t, s.CreateCertificate(ctx, c, newSealedKey(), record(project)))
	ok(t, s.CreateNotificationTarget(ctx, target, 3, record(project)))
	get[engine.SealedKey](t)(s.DataKey(ctx, key, newDataKey(1)))
	for _, secret := range []struct {
		engine.WrappedSecret
		stored func() (engine.SealedKey, error)
	}{
		{engine.WrappedSecret{Kind: engine.PrivateKeySecret, ID: c.ID, Sealed: *newSealedKey()}, func() (engine.SealedKey, error) { return s.SealedKey(ctx, c.ID) }},
		{engine.WrappedSecret{Kind: engine.InstallationSecret, ID: key, Sealed: newDataKey(1)}, func() (engine.SealedKey, error) { return s.StoredDataKey(ctx, key) }},
		{engine.WrappedSecret{Kind: engine.TargetSecret, ID: target.ID, Sealed: target.Sealed}, func() (engine.SealedKey, error) {
			stored, err := s.NotificationTarget(ctx, project, target.ID)
			return stored.Sealed, err
		}},
	} {
		chainOf := engine.NewID("prj")
		first, second := secret.Sealed, secret.Sealed
		first.KeeperID, first.WrappedKey = "awskms://new", []byte{9, 0, 9}
		second.KeeperID = "awskms://newer"
		rec := record(chainOf)
		ok(t, s.ReplaceWrapping(ctx, secret.WrappedSecret, first, rec))
		same(t, get[engine.SealedKey](t)(secret.stored()), first)
		refused(t, s.ReplaceWrapping(ctx, secret.WrappedSecret, second, record(chainOf)), engine.CodeConflict)
		same(t, get[engine.SealedKey](t)(secret.stored()), first)
		missing := secret.WrappedSecret
		missing.ID = "none"
		refused(t, s.ReplaceWrapping(ctx, missing, second, record(chainOf)), engine.CodeNotFound)
		onRecord(t, s, chainOf, rec)
	}
}

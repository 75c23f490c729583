package keys

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// dataKeySize is the length of an installation's key, in bytes.
const dataKeySize = 32

func dataKeyIdentity(id string) string { return "data-key/" + id }

// DataKey returns the installation's key of that id: 256 random bits. The first
// process makes it and stores it sealed, so all processes get the same key.
func DataKey(ctx context.Context, keys engine.Keys, store engine.DataKeys, id string) ([]byte, error) {
	fresh := make([]byte, dataKeySize)
	defer clear(fresh)
	_, _ = rand.Read(fresh) // crypto/rand.Read never fails: it crashes the program instead
	sealed, err := keys.Seal(ctx, dataKeyIdentity(id), fresh)
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	stored, err := store.DataKey(ctx, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("store data key %s: %w", id, err)
	}
	return openDataKey(ctx, keys, id, stored)
}

// StoredDataKey is DataKey that makes no key: one that is not stored is CodeNotFound.
func StoredDataKey(ctx context.Context, keys engine.Keys, store engine.DataKeys, id string) ([]byte, error) {
	stored, err := store.StoredDataKey(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read data key %s: %w", id, err)
	}
	return openDataKey(ctx, keys, id, stored)
}

func openDataKey(ctx context.Context, keys engine.Keys, id string, stored engine.SealedKey) ([]byte, error) {
	key, err := keys.Open(ctx, dataKeyIdentity(id), stored)
	if err != nil {
		return nil, fmt.Errorf("read data key: %w", err)
	}
	if len(key) != dataKeySize {
		return nil, fmt.Errorf("read data key %s: it has %d bytes and must have %d; restore the store from a backup", id, len(key), dataKeySize)
	}
	return key, nil
}

package keys

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
)

// dataKeySize is the length of an installation's key, in bytes.
const dataKeySize = 32

// DataKey returns the installation's key of that id: 256 random bits. The first
// process makes it and stores it sealed, so all processes get the same key.
func DataKey(ctx context.Context, keys engine.Keys, store engine.DataKeys, id string) ([]byte, error) {
	identity := "data-key/" + id
	fresh := make([]byte, dataKeySize)
	defer clear(fresh)
	_, _ = rand.Read(fresh) // crypto/rand.Read never fails: it crashes the program instead
	sealed, err := keys.Seal(ctx, identity, fresh)
	if err != nil {
		return nil, fmt.Errorf("make data key: %w", err)
	}
	stored, err := store.DataKey(ctx, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("store data key %s: %w", id, err)
	}
	key, err := keys.Open(ctx, identity, stored)
	if err != nil {
		return nil, fmt.Errorf("read data key: %w", err)
	}
	if len(key) != dataKeySize {
		return nil, fmt.Errorf("read data key %s: it has %d bytes and must have %d; restore the store from a backup", id, len(key), dataKeySize)
	}
	return key, nil
}

package sqlite

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// DataKey implements [engine.DataKeys].
func (s *Store) DataKey(ctx context.Context, id string, wrapped engine.SealedKey) (engine.SealedKey, error) {
	return update(ctx, s, func(tx tx) (engine.SealedKey, error) {
		if _, err := dataKeys.insert(tx, wrapped, id); err != nil {
			return engine.SealedKey{}, err
		}
		return get[engine.SealedKey](context.Background(), tx, "data_keys WHERE id = ?", id)
	})
}

// StoredDataKey implements [engine.DataKeys].
func (s *Store) StoredDataKey(ctx context.Context, id string) (engine.SealedKey, error) {
	return get[engine.SealedKey](ctx, s.reading, "data_keys WHERE id = ?", id)
}

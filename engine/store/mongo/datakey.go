package mongo

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// DataKey implements engine.DataKeys.
func (s *Store) DataKey(ctx context.Context, id string, wrapped engine.SealedKey) (engine.SealedKey, error) {
	if err := s.begin(); err != nil {
		return engine.SealedKey{}, err
	}
	defer s.end()
	stored, _, err := s.insert(ctx, s.db.Collection(dataKeysName), keyDocument{id, wrapped})
	if err != nil {
		return engine.SealedKey{}, err
	}
	doc, err := decode[keyDocument](stored)
	return doc.SealedKey, err
}

// StoredDataKey implements engine.DataKeys.
func (s *Store) StoredDataKey(ctx context.Context, id string) (engine.SealedKey, error) {
	doc, err := find[keyDocument](ctx, s.db.Collection(dataKeysName), byID(id))
	return doc.SealedKey, err
}

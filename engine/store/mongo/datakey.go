package mongo

import (
	"context"

	"github.com/countersign-dev/countersign/engine"
)

// dataKeyDocument is a wrapped key under its id.
type dataKeyDocument struct {
	ID  string           `bson:"_id"`
	Key engine.SealedKey `bson:"key"`
}

// DataKey implements engine.DataKeys.
func (s *Store) DataKey(ctx context.Context, id string, wrapped engine.SealedKey) (engine.SealedKey, error) {
	if err := s.begin(); err != nil {
		return engine.SealedKey{}, err
	}
	defer s.end()
	stored, _, err := s.insert(ctx, s.db.Collection(dataKeysName), dataKeyDocument{ID: id, Key: wrapped})
	if err != nil {
		return engine.SealedKey{}, err
	}
	doc, err := decode[dataKeyDocument](stored)
	return doc.Key, err
}

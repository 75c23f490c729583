package mongo

import (
	"context"
	"fmt"

	"github.com/countersign-dev/countersign/engine"
	"go.mongodb.org/mongo-driver/bson"
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

// ReplaceWrapping implements engine.DataKeys.
func (s *Store) ReplaceWrapping(ctx context.Context, secret engine.WrappedSecret, next engine.SealedKey, rec engine.Record) error {
	collection, known := map[engine.SecretKind]string{
		engine.PrivateKeySecret: certificateKeysName, engine.TargetSecret: targetsName, engine.InstallationSecret: dataKeysName,
	}[secret.Kind]
	if !known {
		return fmt.Errorf("mongo: there is no kind of secret %q", secret.Kind)
	}
	in := ""
	if secret.Kind == engine.TargetSecret {
		in = "sealed."
	}
	return s.update(ctx, rec, func(ctx context.Context, again bool) (bool, error) {
		wrapping := func(k engine.SealedKey) bson.D {
			return bson.D{{Key: in + "keeper_id", Value: k.KeeperID}, {Key: in + "wrapped_key", Value: k.WrappedKey}}
		}
		c := s.db.Collection(collection)
		replaced, err := c.UpdateOne(ctx, append(byID(secret.ID), wrapping(secret.Sealed)...), bson.D{{Key: "$set", Value: wrapping(next)}})
		if err != nil {
			return false, fault("replace a wrapping in "+collection, err)
		}
		if replaced.MatchedCount == 0 {
			if _, err := find[bson.Raw](ctx, c, byID(secret.ID)); err != nil {
				return false, err
			}
			if !again {
				return false, engine.CodeConflict
			}
			if _, err := find[bson.Raw](ctx, c, append(byID(secret.ID), wrapping(next)...)); err != nil {
				return false, engine.CodeConflict // somebody else replaced it
			}
		}
		return true, s.record(ctx, rec)
	})
}

// StoredDataKey implements engine.DataKeys.
func (s *Store) StoredDataKey(ctx context.Context, id string) (engine.SealedKey, error) {
	doc, err := find[keyDocument](ctx, s.db.Collection(dataKeysName), byID(id))
	return doc.SealedKey, err
}

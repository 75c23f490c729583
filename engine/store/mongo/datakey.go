package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/failpoint"
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
	wrapping := func(k engine.SealedKey) bson.D {
		return bson.D{{Key: in + "keeper_id", Value: k.KeeperID}, {Key: in + "wrapped_key", Value: k.WrappedKey}}
	}
	c := s.db.Collection(collection)
	present := append(byID(secret.ID), wrapping(secret.Sealed)...)
	return s.change(rec, func() (bool, error) {
		// A command that is killed between the two is repeated, and then wraps the secret and
		// records it again. In the other order, it would find the secret wrapped already.
		if err := missingWrapping(ctx, c, secret.ID, present); err != nil {
			return false, err
		}
		if err := s.record(ctx, rec); err != nil {
			return false, err
		}
		failpoint.Hit("rewrapping-recorded")
		replaced, err := c.UpdateOne(ctx, present, bson.D{{Key: "$set", Value: wrapping(next)}})
		if err != nil {
			return false, fault("replace a wrapping in "+collection, err)
		}
		if replaced.MatchedCount == 0 {
			return false, engine.CodeConflict
		}
		return true, nil
	})
}

// missingWrapping returns CodeNotFound if a secret is gone, and CodeConflict if it is
// wrapped otherwise.
func missingWrapping(ctx context.Context, c *mongo.Collection, id string, present bson.D) error {
	_, err := find[bson.Raw](ctx, c, present)
	if !errors.Is(err, engine.CodeNotFound) {
		return err
	}
	if _, err = find[bson.Raw](ctx, c, byID(id)); err == nil {
		err = engine.CodeConflict
	}
	return err
}

// StoredDataKey implements engine.DataKeys.
func (s *Store) StoredDataKey(ctx context.Context, id string) (engine.SealedKey, error) {
	doc, err := find[keyDocument](ctx, s.db.Collection(dataKeysName), byID(id))
	return doc.SealedKey, err
}

package sqlite

import (
	"bytes"
	"context"
	"encoding/json"

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

// ReplaceWrapping implements [engine.DataKeys].
func (s *Store) ReplaceWrapping(ctx context.Context, secret engine.WrappedSecret, next engine.SealedKey, rec engine.Record) error {
	replace, known := wrappings[secret.Kind]
	if !known {
		return errKind(string(secret.Kind))
	}
	return s.change(ctx, rec, func(tx tx) error { return replace(tx, secret, next) })
}

// wrappings replace the wrapping of a secret, by its kind.
var wrappings = map[engine.SecretKind]func(tx tx, secret engine.WrappedSecret, next engine.SealedKey) error{
	engine.PrivateKeySecret: func(tx tx, secret engine.WrappedSecret, next engine.SealedKey) error {
		return replaceKey(tx, "certificate_keys", "certificate_id", secret, next)
	},
	engine.InstallationSecret: func(tx tx, secret engine.WrappedSecret, next engine.SealedKey) error {
		return replaceKey(tx, "data_keys", "id", secret, next)
	},
	engine.TargetSecret: func(tx tx, secret engine.WrappedSecret, next engine.SealedKey) error {
		target, err := targets.one(context.Background(), tx, filter{"id", secret.ID})
		if err == nil {
			err = sameWrapping(target.Sealed, secret.Sealed)
		}
		if err != nil {
			return err
		}
		target.Sealed = next
		_, err = targets.rewrite(tx, target)
		return err
	},
}

func replaceKey(tx tx, table, id string, secret engine.WrappedSecret, next engine.SealedKey) error {
	stored, err := get[engine.SealedKey](context.Background(), tx, table+" WHERE "+id+" = ?", secret.ID)
	if err == nil {
		err = sameWrapping(stored, secret.Sealed)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(next)
	if err == nil {
		_, err = tx.exec("UPDATE "+table+" SET doc = ? WHERE "+id+" = ?", string(text), secret.ID)
	}
	return err
}

func sameWrapping(stored, want engine.SealedKey) error {
	if stored.KeeperID != want.KeeperID || !bytes.Equal(stored.WrappedKey, want.WrappedKey) {
		return engine.CodeConflict
	}
	return nil
}

// StoredDataKey implements [engine.DataKeys].
func (s *Store) StoredDataKey(ctx context.Context, id string) (engine.SealedKey, error) {
	return get[engine.SealedKey](ctx, s.reading, "data_keys WHERE id = ?", id)
}

// Package keys keeps private keys encrypted at rest, by envelope encryption.
//
// Start with [Open], which makes a [Sealer] from keepers. Each key gets a data
// key of its own (256 random bits, XChaCha20-Poly1305), and a keeper of
// gocloud.dev/secrets wraps the data key: a key management service, or by
// default a local key file. The record's identity is the associated data, so a
// sealed key opens for its own record only.
//
// Keepers rotate: the current one seals, and the previous ones open what they
// sealed, found by the keeper id that every sealed key carries.
//
// The package promises that neither keys nor data keys appear in an error, a log
// record or a keeper id, and it caches neither.
package keys

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/countersign-dev/countersign/engine"
)

// Options say which keepers there are. A keeper is a URL of gocloud.dev/secrets
// (package kms lists the schemes of the key management services), or
// keyfile:///path for another local key file. base64key://… holds the key
// itself and is for tests.
type Options struct {
	// Keeper seals new keys. Empty, the local key file does.
	Keeper string
	// Previous keepers open what they sealed before.
	Previous []string
	// KeyFile is the path of the local key file, which belongs outside the
	// database's folder: whoever copies one should not have the other. It is
	// made when it is missing and no Keeper is set; with a Keeper set, one that
	// exists goes on opening what it sealed.
	KeyFile string
	// Logger gets the warning that a local key is in use; nil is slog's default.
	Logger *slog.Logger
}

// Sealer seals and opens keys. It is safe for concurrent use.
type Sealer struct {
	keepers []keeper // the first seals
}

var _ engine.Keys = (*Sealer)(nil)

// Open opens every keeper that the options name, so that a malformed one shows now.
// It asks no key management service anything yet.
func Open(ctx context.Context, o Options) (*Sealer, error) {
	s := &Sealer{}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.keepers[0].local {
		logger := o.Logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.WarnContext(ctx, "private keys are sealed under a key on this machine; production wants a key management service", "keeper", s.keepers[0].id)
	}
	return s, nil
}

func (s *Sealer) open(ctx context.Context, o Options) error {
	if o.Keeper == "" {
		k, err := openKeyFile(o.KeyFile, true)
		if err != nil {
			return err
		}
		s.keepers = append(s.keepers, k)
	}
	for _, url := range append(nonEmpty(o.Keeper), o.Previous...) {
		k, err := openURL(ctx, url)
		if err != nil {
			return err
		}
		s.keepers = append(s.keepers, k)
	}
	if o.Keeper == "" || o.KeyFile == "" {
		return nil
	}
	k, err := openKeyFile(o.KeyFile, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.keepers = append(s.keepers, k)
	return nil
}

func nonEmpty(url string) []string {
	if url == "" {
		return nil
	}
	return []string{url}
}

// Close releases the keepers.
func (s *Sealer) Close() error {
	var errs []error
	for _, k := range s.keepers {
		if err := k.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close keeper %s: %w", k.id, err))
		}
	}
	return errors.Join(errs...)
}

// Seal implements engine.Keys. The caller sets the result's CertificateID.
func (s *Sealer) Seal(ctx context.Context, identity string, key []byte) (engine.SealedKey, error) {
	k := s.keepers[0]
	dataKey := make([]byte, chacha20poly1305.KeySize)
	defer clear(dataKey)
	_, _ = rand.Read(dataKey) // crypto/rand.Read never fails: it crashes the program instead
	wrapped, err := k.wrap(ctx, dataKey)
	if err != nil {
		return engine.SealedKey{}, fmt.Errorf("seal %s: %w", identity, unavailable(k.id, err))
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return engine.SealedKey{}, fmt.Errorf("seal %s: %w", identity, err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(key)+aead.Overhead())
	_, _ = rand.Read(nonce)
	return engine.SealedKey{
		KeeperID:   k.id,
		WrappedKey: wrapped,
		Ciphertext: aead.Seal(nonce, nonce, key, associatedData(identity)),
	}, nil
}

// Open implements engine.Keys. The caller clears the key when it is done.
func (s *Sealer) Open(ctx context.Context, identity string, sealed engine.SealedKey) ([]byte, error) {
	dataKey, err := s.unwrap(ctx, sealed)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", identity, err)
	}
	defer clear(dataKey)
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", identity, err)
	}
	if len(sealed.Ciphertext) < aead.NonceSize() {
		return nil, fmt.Errorf("open %s: the ciphertext is cut short", identity)
	}
	nonce, ciphertext := sealed.Ciphertext[:aead.NonceSize()], sealed.Ciphertext[aead.NonceSize():]
	key, err := aead.Open(nil, nonce, ciphertext, associatedData(identity))
	if err != nil {
		return nil, fmt.Errorf("open %s: the sealed key was changed or belongs to another record: %w", identity, err)
	}
	return key, nil
}

// unwrap asks the keeper that wrapped the data key. Keepers of one id differ in
// what the id leaves out, such as a region: each of them is asked.
func (s *Sealer) unwrap(ctx context.Context, sealed engine.SealedKey) ([]byte, error) {
	failure := fmt.Errorf("no keeper is configured under the id %q, which wrapped its data key", sealed.KeeperID)
	for _, k := range s.keepers {
		if k.id != sealed.KeeperID {
			continue
		}
		dataKey, err := k.unwrap(ctx, sealed.WrappedKey)
		if err == nil {
			return dataKey, nil
		}
		failure = unavailable(k.id, err)
	}
	return nil, failure
}

// unavailable is what a caller hears of a keeper that refuses or does not answer.
func unavailable(id string, err error) error {
	return engine.Errorf(engine.CodeUnavailable, "the keeper of the private keys does not serve").
		Because(fmt.Errorf("keeper %s: %w", id, err))
}

func newAEAD(dataKey []byte) (cipher.AEAD, error) {
	aead, err := chacha20poly1305.NewX(dataKey)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err) // says its length at most
	}
	return aead, nil
}

// associatedData keeps what is sealed here apart from any other use of a data key.
func associatedData(identity string) []byte { return []byte("countersign seal v1\x00" + identity) }

// Package keys keeps private keys encrypted at rest, by envelope encryption.
//
// Start with [Open], which makes a [Sealer]. Each private key is encrypted under a
// data key of its own (256 random bits, XChaCha20-Poly1305). A keeper of
// gocloud.dev/secrets encrypts ("wraps") the data key: a key management service,
// or by default a local key file. The record's identity is the associated data, so
// a sealed key can be opened for its own record only.
//
// For rotation, the current keeper seals new keys and the previous keepers open
// old ones. Every sealed key contains the id of its keeper.
//
// The package promises that private keys and data keys never appear in an error, a
// log record or a keeper id. It caches neither.
package keys

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/countersign-dev/countersign/engine"
)

// Options name the keepers. A keeper is a URL of gocloud.dev/secrets
// (package kms lists the schemes of the key management services), or
// keyfile:///path for another local key file, or age:///path for a file with an age
// identity. base64key://… contains the key itself and is for tests.
type Options struct {
	// Keeper seals new keys. If it is empty, the local key file does.
	Keeper string
	// Previous keepers open the keys that they sealed before.
	Previous []string
	// KeyFile is the path of the local key file. It should not be in the database's
	// folder, so that a copy of one is not a copy of both. A missing file is made if
	// no Keeper is set. With a Keeper, an existing file still opens the keys that it
	// sealed.
	KeyFile string
	// InUse says that the installation has keys. A missing file is then an error: a new
	// one opens none of them.
	InUse bool
	// Logger gets a warning if a local key seals; slog.Default() by default.
	Logger *slog.Logger
	// Metrics gets the metrics of the keepers' calls, unless it is nil.
	Metrics *prometheus.Registry
}

// Sealer seals and opens keys. It is safe for concurrent use.
type Sealer struct {
	keepers []keeper // the first seals
}

var _ engine.Keys = (*Sealer)(nil)

// Open opens all keepers, so that an invalid URL is an error now. It does not call
// a key management service yet.
func Open(ctx context.Context, o Options) (*Sealer, error) {
	s := &Sealer{}
	err := s.open(ctx, o)
	if err == nil {
		err = s.measure(o.Metrics)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.keepers[0].local {
		logger := o.Logger
		if logger == nil {
			logger = slog.Default()
		}
		logger.WarnContext(ctx, "private keys are sealed under a key file on this machine; set keeper.url to a key management service in production", "keeper", s.keepers[0].id)
	}
	return s, nil
}

func (s *Sealer) open(ctx context.Context, o Options) error {
	if o.Keeper == "" {
		k, err := openKeyFile(o.KeyFile, !o.InUse)
		if o.InUse && errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w; the installation has keys that another key file or keeper sealed: copy that file here, or set keeper.url to that keeper", err)
		}
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
		return nil, fmt.Errorf("open %s: the ciphertext is too short; restore the record from a backup", identity)
	}
	nonce, ciphertext := sealed.Ciphertext[:aead.NonceSize()], sealed.Ciphertext[aead.NonceSize():]
	key, err := aead.Open(nil, nonce, ciphertext, associatedData(identity))
	if err != nil {
		return nil, fmt.Errorf("open %s: the sealed key was changed or belongs to another record: %w", identity, err)
	}
	return key, nil
}

// Rewrap implements [engine.Rewrapper].
func (s *Sealer) Rewrap(ctx context.Context, sealed engine.SealedKey) (next engine.SealedKey, changed bool, err error) {
	k := s.keepers[0]
	if sealed.KeeperID == k.id {
		return sealed, false, nil
	}
	dataKey, err := s.unwrap(ctx, sealed)
	if err != nil {
		return sealed, false, err
	}
	defer clear(dataKey)
	next = sealed
	next.KeeperID = k.id
	if next.WrappedKey, err = k.wrap(ctx, dataKey); err != nil {
		return sealed, false, unavailable(k.id, err)
	}
	// What is about to replace the only way to the secret must open it.
	again, err := s.unwrap(ctx, next)
	if err != nil {
		return sealed, false, err
	}
	defer clear(again)
	if !bytes.Equal(again, dataKey) {
		return sealed, false, fmt.Errorf("keeper %s does not unwrap what it wrapped", k.id)
	}
	return next, true, nil
}

// IDs are the ids of the keepers; the first wraps new secrets.
func (s *Sealer) IDs() (ids []string) {
	for _, k := range s.keepers {
		ids = append(ids, k.id)
	}
	return ids
}

// KeeperState is a keeper that is configured. Seals says that it wraps new secrets. Failure
// says why it cannot be used now, or is "".
type KeeperState struct {
	ID      string `json:"-"`
	Seals   bool   `json:"wraps_new_secrets"`
	Failure string `json:"failure,omitempty"`
}

// States tries each keeper for what it is needed for: the first wraps and unwraps, and each
// unwraps one of the samples, which are secrets by the id of their keeper.
func (s *Sealer) States(ctx context.Context, samples map[string]engine.SealedKey) []KeeperState {
	states := make([]KeeperState, len(s.keepers))
	for i, k := range s.keepers {
		states[i] = KeeperState{ID: k.id, Seals: i == 0}
		var err error
		wrapped := samples[k.id].WrappedKey
		if states[i].Seals {
			wrapped, err = k.wrap(ctx, []byte("countersign keeper check"))
		}
		if err == nil && wrapped != nil {
			_, err = k.unwrap(ctx, wrapped)
		}
		if err != nil {
			states[i].Failure = err.Error()
		}
	}
	return states
}

// unwrap calls the keeper that wrapped the data key. It tries all keepers with the
// same id, because they may differ in what the id leaves out, such as a region.
func (s *Sealer) unwrap(ctx context.Context, sealed engine.SealedKey) ([]byte, error) {
	failure := fmt.Errorf("its keeper %q is not configured; add its URL to keeper.previous", sealed.KeeperID)
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

// unavailable is the error for a keeper that refuses or does not answer.
func unavailable(id string, err error) error {
	return engine.Errorf(engine.CodeUnavailable, "the keeper of the private keys failed; try again later, and check the server's log").
		Because(fmt.Errorf("keeper %s: %w", id, err))
}

func newAEAD(dataKey []byte) (cipher.AEAD, error) {
	aead, err := chacha20poly1305.NewX(dataKey)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err) // the error contains the length at most
	}
	return aead, nil
}

// associatedData separates sealed keys from any other use of a data key.
func associatedData(identity string) []byte { return []byte("countersign seal v1\x00" + identity) }

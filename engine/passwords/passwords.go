// Package passwords is the [engine.Passwords] port: argon2id with the second
// recommended parameters of RFC 9106, section 4: 3 passes over 64 MiB.
package passwords

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/alexedwards/argon2id"
	"golang.org/x/sync/semaphore"

	"github.com/countersign-dev/countersign/engine"
)

// Passwords hashes at most one password per processor at a time, which bounds the
// memory that many simultaneous sign-ins use. The zero value is ready to use.
type Passwords struct {
	// MemoryKiB is the memory that one hash uses, in KiB. The default is 64 MiB;
	// tests that hash many passwords use less.
	MemoryKiB uint32

	once  sync.Once
	slots *semaphore.Weighted
}

var _ engine.Passwords = (*Passwords)(nil)

const defaultMemoryKiB = 64 << 10

func (p *Passwords) params() *argon2id.Params {
	return &argon2id.Params{Memory: cmp.Or(p.MemoryKiB, defaultMemoryKiB), Iterations: 3, Parallelism: 4, SaltLength: 16, KeyLength: 32}
}

// dummyHash is compared for a user that does not exist or has no password, so that
// the time of an answer does not show it. No known password matches it.
func (p *Passwords) dummyHash() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", p.params().Memory)
}

// Hash implements engine.Passwords.
func (p *Passwords) Hash(ctx context.Context, password engine.Secret) (string, error) {
	release, err := p.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	hash, err := argon2id.CreateHash(password.Reveal(), p.params())
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// Matches implements engine.Passwords.
func (p *Passwords) Matches(ctx context.Context, hash string, password engine.Secret) (bool, error) {
	if hash == "" {
		hash = p.dummyHash()
	}
	release, err := p.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	same, err := argon2id.ComparePasswordAndHash(password.Reveal(), hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return same, nil
}

// acquire waits for a free processor, at most as long as any answer may take.
func (p *Passwords) acquire(ctx context.Context) (release func(), err error) {
	p.once.Do(func() { p.slots = semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))) })
	ctx, cancel := context.WithTimeout(ctx, engine.AnswerWithin)
	defer cancel()
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return nil, engine.Errorf(engine.CodeUnavailable, "too many passwords are being checked; try again in a moment").Because(err)
	}
	return func() { p.slots.Release(1) }, nil
}

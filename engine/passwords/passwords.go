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

	"github.com/countersign-dev/countersign/engine"
)

// Passwords hashes as many passwords at a time as there are processors, so that a
// crowd that signs in takes time, not memory. The zero value is ready to use.
type Passwords struct {
	// MemoryKiB is what one hash takes, in KiB. Default 64 MiB; tests that hash
	// many take less.
	MemoryKiB uint32

	once  sync.Once
	turns chan struct{}
}

var _ engine.Passwords = (*Passwords)(nil)

// recommended is 64 MiB in KiB.
const recommended = 64 << 10

func (p *Passwords) params() *argon2id.Params {
	return &argon2id.Params{Memory: cmp.Or(p.MemoryKiB, recommended), Iterations: 3, Parallelism: 4, SaltLength: 16, KeyLength: 32}
}

// nobody is the hash that is compared where there is none: of a password that
// nobody knows, and as costly as any other.
func (p *Passwords) nobody() string {
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", p.params().Memory)
}

// Hash implements engine.Passwords.
func (p *Passwords) Hash(ctx context.Context, password engine.Secret) (string, error) {
	done, err := p.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := argon2id.CreateHash(password.Reveal(), p.params())
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// Matches implements engine.Passwords.
func (p *Passwords) Matches(ctx context.Context, hash string, password engine.Secret) (bool, error) {
	if hash == "" {
		hash = p.nobody()
	}
	done, err := p.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	same, err := argon2id.ComparePasswordAndHash(password.Reveal(), hash)
	if err != nil {
		return false, fmt.Errorf("compare password: %w", err)
	}
	return same, nil
}

// turn waits until a processor is free, as long as the caller does and no longer
// than callers wait for any answer.
func (p *Passwords) turn(ctx context.Context) (done func(), err error) {
	p.once.Do(func() { p.turns = make(chan struct{}, runtime.GOMAXPROCS(0)) })
	ctx, cancel := context.WithTimeout(ctx, engine.AnswerWithin)
	defer cancel()
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-ctx.Done():
		return nil, engine.Errorf(engine.CodeUnavailable, "too many passwords are being checked; try again in a moment").Because(context.Cause(ctx))
	}
}

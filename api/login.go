package api

import (
	"context"
	"fmt"
	"net/netip"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/countersign-dev/countersign/engine"
)

// These limits are for each network and, the last one, for each account: it counts the
// wrong passwords from networks from which nobody has signed in to the account. Valid
// API keys are never limited.
const (
	invalidKeysPerMinute           = 60
	wrongPasswordsPerMinute        = 60
	wrongPasswordsPerAccountMinute = 100
)

// logins limits wrong credentials. People who sign in from a network that is known for
// their account do not have to wait because others guess its password elsewhere.
type logins struct {
	keys, passwords *limiter[netip.Prefix]
	accounts        *limiter[string]
	known           *lru.Cache[accountNetwork, struct{}]
}

// accountNetwork is a network from which somebody signed in to an account.
type accountNetwork struct {
	username string
	network  netip.Prefix
}

func newLogins() (*logins, error) {
	l := &logins{}
	var err error
	if l.keys, err = newLimiter[netip.Prefix](invalidKeysPerMinute); err != nil {
		return nil, err
	}
	if l.passwords, err = newLimiter[netip.Prefix](wrongPasswordsPerMinute); err != nil {
		return nil, err
	}
	if l.accounts, err = newLimiter[string](wrongPasswordsPerAccountMinute); err != nil {
		return nil, err
	}
	if l.known, err = lru.New[accountNetwork, struct{}](maxBuckets); err != nil {
		return nil, fmt.Errorf("remember networks: %w", err)
	}
	return l, nil
}

// invalidKey counts an API key that is not valid and has it recorded, or returns
// that the caller's network presented too many.
func (s *Server) invalidKey(ctx context.Context, k *call, known *engine.APIKey) error {
	if seconds, limited := s.logins.keys.exhausted(k.Network(), s.clock()); limited {
		return tooManyFailedLogins(seconds)
	}
	s.logins.keys.count(k.Network(), s.clock())
	s.downloads.Refusals.RecordInvalidKey(ctx, k.Origin, known)
	return nil
}

// withPassword runs check, which compares a password of an account and returns the
// code wrong if it is another. It counts and records that, and refuses a caller who
// was wrong too often. Attempts under way count as failures.
func (s *Server) withPassword(ctx context.Context, k *call, username string, wrong engine.Code, check func() error) error {
	if len(username) > engine.MaxUsername { // nobody has such a name
		username = ""
	}
	from := accountNetwork{username, k.Network()}
	done, seconds, limited := s.logins.passwords.begin(from.network, s.clock())
	if limited {
		return tooManyFailedLogins(seconds)
	}
	defer done()
	_, known := s.logins.known.Get(from)
	if !known {
		done, seconds, limited := s.logins.accounts.begin(username, s.clock())
		if limited {
			return rateLimited(seconds, "too many failed logins to this account; try again later, or from where you signed in before")
		}
		defer done()
	}
	err := check()
	switch {
	case err == nil:
		s.logins.known.Add(from, struct{}{})
	case engine.CodeOf(err) == wrong:
		s.logins.passwords.count(from.network, s.clock())
		if !known {
			s.logins.accounts.count(username, s.clock())
		}
		s.downloads.Refusals.RecordFailedSignIn(ctx, k.Caller, username)
	}
	return err
}

func tooManyFailedLogins(seconds int) error {
	return rateLimited(seconds, "too many failed logins from this address; try again later")
}

package api

import (
	"context"
	"net/netip"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/countersign-dev/countersign/engine"
)

// Each network may present so many invalid API keys a minute, and so many wrong
// passwords; each account may be tried with so many wrong passwords from networks
// from which nobody has signed in to it. Valid API keys are never limited.
const (
	invalidKeysPerMinute           = 60
	wrongPasswordsPerMinute        = 60
	wrongPasswordsPerAccountMinute = 100
)

// logins limits wrong credentials. Who signed in to an account from a network before
// does not wait because others, elsewhere, guess the account's password.
type logins struct {
	keys, passwords *limiter[netip.Prefix]
	accounts        *limiter[string]

	mu    sync.Mutex
	known *lru.LRU[accountNetwork, struct{}]
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
	l.known, err = lru.NewLRU[accountNetwork, struct{}](maxBuckets, nil)
	return l, err
}

func (l *logins) isKnown(from accountNetwork) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.known.Get(from)
	return known
}

func (l *logins) remember(from accountNetwork) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.Add(from, struct{}{})
}

// invalidKey counts an API key that is not valid and has it recorded, or returns
// that the caller's network presented too many.
func (s *Server) invalidKey(ctx context.Context, k *call) error {
	if seconds, limited := s.logins.keys.exhausted(k.Network(), s.clock()); limited {
		return tooManyFailedLogins(seconds)
	}
	s.logins.keys.count(k.Network(), s.clock())
	s.downloads.Refusals.RecordInvalidKey(ctx, k.Origin)
	return nil
}

// withPassword runs check, which compares a password of an account and returns the
// code wrong if it is another. It counts and records that, and refuses a caller who
// was wrong too often. Attempts under way count as failures.
func (s *Server) withPassword(ctx context.Context, k *call, username string, wrong engine.Code, check func() error) error {
	if len(username) > maxUsername { // nobody has such a name
		username = ""
	}
	from := accountNetwork{username, k.Network()}
	done, seconds, limited := s.logins.passwords.begin(from.network, s.clock())
	if limited {
		return tooManyFailedLogins(seconds)
	}
	defer done()
	known := s.logins.isKnown(from)
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
		s.logins.remember(from)
	case engine.CodeOf(err) == wrong:
		s.logins.passwords.count(from.network, s.clock())
		if !known {
			s.logins.accounts.count(username, s.clock())
		}
		s.downloads.Refusals.RecordFailedSignIn(ctx, k.Caller, username)
	}
	return err
}

// maxUsername is the largest length of a username, in bytes.
const maxUsername = 100

func tooManyFailedLogins(seconds int) error {
	return rateLimited(seconds, "too many failed logins from this address; try again later")
}

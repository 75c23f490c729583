package engine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Session is a browser in which a user signed in. ID is the SHA-256 of its secret,
// in hex: 256 random bits need no slower hash. A session ends at ExpiresAt, after
// [Authentication].Idle without use, or when the user's Epoch is no longer its own.
type Session struct {
	ID        string    `json:"id"`
	UserID    string    `json:"user_id"`
	Epoch     int       `json:"epoch"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	Address   string    `json:"address,omitempty"` // from which it was opened
	ExpiresAt time.Time `json:"expires_at"`
	MAC       string    `json:"mac"`
}

// sign computes the MAC of a session: the HMAC-SHA-256 (RFC 2104), in hex, of what
// decides whose it is and until when, under a key derived from the audit key. So nobody who
// can only write to the database opens a session, or gives theirs to another user.
func (s Session) sign(auditKey []byte) string {
	s.SeenAt, s.Address, s.MAC = time.Time{}, "", "" // the release before knows no address
	mac := hmac.New(sha256.New, []byte(derived(auditKey, "session")))
	mac.Write([]byte(contentDigest(s)))
	return hex.EncodeToString(mac.Sum(nil))
}

// Passwords hashes and compares passwords. Both are slow on purpose.
type Passwords interface {
	Hash(ctx context.Context, password Secret) (string, error)
	// Matches takes as long for the hash "", which no password matches, as for
	// any other.
	Matches(ctx context.Context, hash string, password Secret) (bool, error)
}

// Authentication finds out who calls, by an API key or a session, and signs
// people in and out. A session ends after Idle without use, and at the latest
// after Life. All fields must be set.
type Authentication struct {
	Store      AuthenticationStore
	Passwords  Passwords
	Clock      Clock
	Idle, Life time.Duration
	Key        []byte // the audit key
}

// AuthenticationStore is what [Authentication] reads and writes; [Store] documents
// the methods.
type AuthenticationStore interface {
	Sessions
	User(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, username string) (User, error)
	ChangeUser(ctx context.Context, userID string, change UserChange, rec Record) error
	APIKeyBySecret(ctx context.Context, secretDigest string) (APIKey, error)
	APIKey(ctx context.Context, id string) (APIKey, error)
}

// errInvalidKey is the same for every reason, so that a caller does not learn
// which keys exist.
var errInvalidKey = Errorf(CodeUnauthenticated, "this API key is unknown, expired or revoked; ask for a new one")

// errKeyBound refuses a key that came without its client certificate. Only who knows the key
// learns that it is bound.
var errKeyBound = Errorf(CodeUnauthenticated, "this API key is bound to a client certificate, and the connection does not show that one")

// CheckAPIKey finds whose API key a secret is. certificate is the SHA-256 of the client
// certificate of the connection, in hex, or "". A key that is unknown, has ended or is bound
// to another certificate (RFC 8705, section 3) is CodeUnauthenticated; the last is returned
// all the same, so that it can be named.
func (s *Authentication) CheckAPIKey(ctx context.Context, secret Secret, certificate string) (Principal, error) {
	key, err := s.Store.APIKeyBySecret(ctx, SecretDigest(secret))
	if errors.Is(err, CodeNotFound) {
		return Principal{}, errInvalidKey
	}
	if err != nil {
		return Principal{}, fmt.Errorf("look up API key: %w", err)
	}
	owner, err := s.Store.User(ctx, key.OwnerID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return Principal{}, fmt.Errorf("look up owner of API key: %w", err)
	}
	if err != nil {
		return Principal{}, errInvalidKey
	}
	if err := checkKey(ctx, s.Store, key, owner, s.Clock()); err != nil {
		return Principal{}, err
	}
	if key.CertificateSHA256 != "" && key.CertificateSHA256 != certificate {
		return Principal{Key: &key}, errKeyBound
	}
	return Principal{User: owner, Key: &key}, nil
}

// keyReader reads one API key.
type keyReader interface {
	APIKey(ctx context.Context, id string) (APIKey, error)
}

// checkKey returns errInvalidKey if a key has ended: it is expired or revoked, or
// its owner was disabled since it was made. A key of the system also ends when its
// owner stops being a system administrator.
func checkKey(ctx context.Context, store keyReader, key APIKey, owner User, now time.Time) error {
	owner = owner.since(key.OwnerLosses)
	if owner.Disabled || key.ofSystem() && !owner.SystemAdmin || !key.Usable(now) {
		return errInvalidKey
	}
	revoked, err := keyRevoked(ctx, store, key)
	if err == nil && revoked {
		err = errInvalidKey
	}
	return err
}

// keyRevoked reports whether a key, or one through which it was made, is revoked.
func keyRevoked(ctx context.Context, store keyReader, key APIKey) (bool, error) {
	if !key.RevokedAt.IsZero() {
		return true, nil
	}
	for _, id := range key.MadeBy {
		maker, err := store.APIKey(ctx, id)
		if err != nil && !errors.Is(err, CodeNotFound) {
			return false, fmt.Errorf("look up maker of API key: %w", err)
		}
		if err != nil || !maker.RevokedAt.IsZero() {
			return true, nil
		}
	}
	return false, nil
}

// touchInterval limits how often the use of a session is written to the store.
const touchInterval = time.Minute

// errSignIn is the same for users who are unknown, disabled or have no password
// and for a wrong password, so that nobody learns which users exist.
var errSignIn = Errorf(CodeUnauthenticated, "the username or the password is wrong")

// SignIn opens a session and returns its secret, which is nowhere else. It ends
// former, the session that the browser had before (its secret, or "").
func (s *Authentication) SignIn(ctx context.Context, from Origin, username string, password, former Secret) (Principal, Secret, error) {
	u, err := s.Store.UserByName(ctx, username)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return Principal{}, "", fmt.Errorf("sign in: %w", err)
	}
	ok, err := s.Passwords.Matches(ctx, u.PasswordHash, password)
	switch {
	case err != nil:
		return Principal{}, "", fmt.Errorf("sign in: %w", err)
	case !ok || u.Disabled:
		return Principal{}, "", errSignIn
	}
	if err := s.endFormer(ctx, from, former); err != nil {
		return Principal{}, "", err
	}
	return s.open(ctx, from, u)
}

// endFormer ends the session of a secret, if there is one.
func (s *Authentication) endFormer(ctx context.Context, from Origin, secret Secret) error {
	if secret == "" {
		return nil
	}
	who, err := s.Resume(ctx, secret)
	if err == nil {
		err = s.SignOut(ctx, Caller{Principal: who, Origin: from})
	}
	if err != nil && !errors.Is(err, CodeNotFound) {
		return fmt.Errorf("end former session: %w", err)
	}
	return nil
}

func (s *Authentication) open(ctx context.Context, from Origin, u User) (Principal, Secret, error) {
	now, secret := s.Clock(), Secret(strings.ToLower(rand.Text()+rand.Text()))
	session := Session{ID: SecretDigest(secret), UserID: u.ID, Epoch: u.Epoch, CreatedAt: now, SeenAt: now, Address: from.IP, ExpiresAt: now.Add(s.Life)}
	session.MAC = session.sign(s.Key)
	who := Principal{User: u, Session: &session}
	return who, secret, s.Store.CreateSession(ctx, session, Record{Audit: who.systemEntry(from, now, ActionSessionOpened)})
}

// systemEntry begins an audit entry of the system chain about a change that the
// caller made to their own account.
func (p Principal) systemEntry(from Origin, now time.Time, action string) AuditEntry {
	e := Caller{Principal: p, Origin: from}.Entry(now, action)
	e.ProjectID = SystemChain
	return e
}

// Resume finds whose session a secret is. CodeNotFound means that the session
// ended or was not opened by [Authentication], that its user is disabled or deleted, or that the user signed out
// everywhere after it was opened.
func (s *Authentication) Resume(ctx context.Context, secret Secret) (Principal, error) {
	session, err := s.Store.Session(ctx, SecretDigest(secret))
	if err != nil {
		return Principal{}, err
	}
	u, err := s.Store.User(ctx, session.UserID)
	if err != nil {
		return Principal{}, err
	}
	if !s.holds(session, u) {
		return Principal{}, CodeNotFound
	}
	return Principal{User: u, Session: &session}, nil
}

// holds reports whether a session was opened by [Authentication] and has not ended.
func (s *Authentication) holds(session Session, of User) bool {
	now := s.Clock()
	return hmac.Equal([]byte(session.MAC), []byte(session.sign(s.Key))) && session.Epoch == of.Epoch && !of.Disabled &&
		now.Before(session.ExpiresAt) && now.Before(session.SeenAt.Add(s.Idle))
}

// SessionsOf lists a user's sessions that have not ended, so a page may have fewer than its
// limit. CodeNotFound says that there is no such user.
func (s *Authentication) SessionsOf(ctx context.Context, userID string, page Page) ([]Session, string, error) {
	u, err := s.Store.User(ctx, userID)
	if err != nil {
		return nil, "", err
	}
	found, next, err := s.Store.SessionsOf(ctx, userID, page)
	return slices.DeleteFunc(found, func(session Session) bool { return !s.holds(session, u) }), next, err
}

// Touch records that the session was used, at most once a minute.
func (s *Authentication) Touch(ctx context.Context, session Session) error {
	if now := s.Clock(); now.Sub(session.SeenAt) >= min(touchInterval, s.Idle/2) {
		return s.Store.TouchSession(ctx, session.ID, now)
	}
	return nil
}

// SignOut ends the caller's session.
func (s *Authentication) SignOut(ctx context.Context, by Caller) error {
	if by.Session == nil {
		return errNoSession
	}
	return s.Store.EndSession(ctx, by.Session.ID, Record{Audit: by.systemEntry(by.Origin, s.Clock(), ActionSessionClosed)})
}

// SignOutEverywhere ends every session of the caller.
func (s *Authentication) SignOutEverywhere(ctx context.Context, by Caller) error {
	if by.Session == nil {
		return errNoSession
	}
	_, err := s.changeSelf(ctx, by, UserChange{SignOut: true}, ActionSessionsClosedEverywhere)
	return err
}

// changeSelf changes the caller's account, and returns it as it is then.
func (s *Authentication) changeSelf(ctx context.Context, by Caller, change UserChange, action string) (User, error) {
	change.IfEpoch = &by.User.Epoch
	u := change.Apply(by.User)
	err := s.Store.ChangeUser(ctx, u.ID, change, Record{Audit: by.systemEntry(by.Origin, s.Clock(), action)}.writes(u.document()))
	if errors.Is(err, CodeConflict) {
		err = errSignedOut
	}
	return u, err
}

var errNoSession = Errorf(CodeInvalidRequest, "the call has an API key and no session; sign in with a browser to use it")

// ChangePassword replaces the caller's password. It ends all of the caller's
// sessions and opens a new one, whose secret it returns.
func (s *Authentication) ChangePassword(ctx context.Context, by Caller, current, next Secret) (Principal, Secret, error) {
	if by.Session == nil {
		return Principal{}, "", errNoSession
	}
	ok, err := s.Passwords.Matches(ctx, by.User.PasswordHash, current)
	if err != nil {
		return Principal{}, "", fmt.Errorf("change password: %w", err)
	}
	if !ok {
		return Principal{}, "", Errorf(CodeWrongPassword, "the current password is wrong")
	}
	hash, err := s.Passwords.Hash(ctx, next)
	if err != nil {
		return Principal{}, "", fmt.Errorf("change password: %w", err)
	}
	u, err := s.changeSelf(ctx, by, UserChange{PasswordHash: &hash, SignOut: true}, ActionPasswordSet)
	if err != nil {
		return Principal{}, "", err
	}
	return s.open(ctx, by.Origin, u)
}

// errSignedOut refuses a change of an account whose sessions were ended meanwhile, for
// example because an administrator set another password, which stays.
var errSignedOut = Errorf(CodeUnauthenticated, "you were signed out meanwhile; sign in again")

// CSRFToken is the HMAC-SHA-256 of the session's secret, in hex. A page of the UI
// sends it with each change. Another site can make the browser send the session's
// cookie but cannot know this token (the synchronizer token pattern).
func CSRFToken(secret Secret) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("countersign forgery token"))
	return hex.EncodeToString(mac.Sum(nil))
}

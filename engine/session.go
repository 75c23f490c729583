package engine

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Session is a person signed in with a browser. ID is the SHA-256 of its secret,
// in hex: 256 random bits need no slower hash. It ends at ExpiresAt, or once it
// was not used for as long as the installation allows, or when the person's
// sign-ins reach another Epoch.
type Session struct {
	ID        string    `json:"_id"`
	UserID    string    `json:"user_id"`
	Epoch     int       `json:"epoch"`
	CreatedAt time.Time `json:"created_at"`
	SeenAt    time.Time `json:"seen_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Passwords hashes passwords and compares them, slowly on purpose.
type Passwords interface {
	Hash(ctx context.Context, password Secret) (string, error)
	// Matches takes as long for the hash "", which no password matches, as for
	// any other.
	Matches(ctx context.Context, hash string, password Secret) (bool, error)
}

// Authentication is how people sign in and out. All fields must be set: Idle is how long
// a session lasts without use, Life how long at most.
type Authentication struct {
	Store      Store
	Passwords  Passwords
	Clock      Clock
	Idle, Life time.Duration
}

// seenEvery is how exactly it is known when a session was last used: not each
// call writes.
const seenEvery = time.Minute

// errSignIn says the same to somebody who is unknown, who is disabled, who has no
// password and who gave another: nobody learns which people there are.
var errSignIn = Errorf(CodeUnauthenticated, "the username or the password is not right")

// Open signs a person in. The secret of the session is returned here and nowhere
// again. It is new whatever the caller had before: former, the secret of a
// session that their browser forgets now, or "", is good for nothing after.
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
	if err := s.leave(ctx, from, former); err != nil {
		return Principal{}, "", err
	}
	return s.open(ctx, from, u)
}

// leave ends the session of a secret, if there is one.
func (s *Authentication) leave(ctx context.Context, from Origin, secret Secret) error {
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
	session := Session{ID: SecretDigest(secret), UserID: u.ID, Epoch: u.Epoch, CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(s.Life)}
	who := Principal{User: u, Session: &session}
	return who, secret, s.Store.CreateSession(ctx, session, Record{Audit: who.system(from, now, ActionSessionOpened)})
}

// system begins an entry of the system chain about what somebody did to
// themselves.
func (p Principal) system(from Origin, now time.Time, action string) AuditEntry {
	e := Caller{Principal: p, Origin: from}.Entry(now, action)
	e.ProjectID = SystemChain
	return e
}

// Resume finds whose session a secret is. One that ended, of a person who is
// disabled or gone, or of before they signed out everywhere, is CodeNotFound.
func (s *Authentication) Resume(ctx context.Context, secret Secret) (Principal, error) {
	session, err := s.Store.Session(ctx, SecretDigest(secret))
	if err != nil {
		return Principal{}, err
	}
	u, err := s.Store.User(ctx, session.UserID)
	if err != nil {
		return Principal{}, err
	}
	if now := s.Clock(); u.Disabled || session.Epoch != u.Epoch || !now.Before(session.ExpiresAt) || !now.Before(session.SeenAt.Add(s.Idle)) {
		return Principal{}, CodeNotFound
	}
	return Principal{User: u, Session: &session}, nil
}

// Seen notes that the person used their session.
func (s *Authentication) Touch(ctx context.Context, session Session) error {
	if now := s.Clock(); now.Sub(session.SeenAt) >= min(seenEvery, s.Idle/2) {
		return s.Store.TouchSession(ctx, session.ID, now)
	}
	return nil
}

// Close signs the caller out of this session.
func (s *Authentication) SignOut(ctx context.Context, by Caller) error {
	if by.Session == nil {
		return errNoSession
	}
	return s.Store.EndSession(ctx, by.Session.ID, Record{Audit: by.system(by.Origin, s.Clock(), ActionSessionClosed)})
}

// SignOutEverywhere signs the caller out everywhere.
func (s *Authentication) SignOutEverywhere(ctx context.Context, by Caller) error {
	if by.Session == nil {
		return errNoSession
	}
	return s.Store.ChangeUser(ctx, by.User.ID, UserChange{SignOut: true}, Record{Audit: by.system(by.Origin, s.Clock(), ActionSessionsClosedEverywhere)})
}

var errNoSession = Errorf(CodeInvalidRequest, "nobody is signed in: the call came with an API key")

// ChangePassword replaces the caller's password. It ends every session of theirs
// and opens another, whose secret it returns.
func (s *Authentication) ChangePassword(ctx context.Context, by Caller, current, next Secret) (Principal, Secret, error) {
	if by.Session == nil {
		return Principal{}, "", errNoSession
	}
	ok, err := s.Passwords.Matches(ctx, by.User.PasswordHash, current)
	if err != nil {
		return Principal{}, "", fmt.Errorf("change password: %w", err)
	}
	if !ok {
		return Principal{}, "", Errorf(CodeWrongPassword, "the current password is another")
	}
	hash, err := s.Passwords.Hash(ctx, next)
	if err != nil {
		return Principal{}, "", fmt.Errorf("change password: %w", err)
	}
	u := by.User
	change := UserChange{IfEpoch: &u.Epoch, PasswordHash: &hash, SignOut: true}
	err = s.Store.ChangeUser(ctx, u.ID, change, Record{Audit: by.system(by.Origin, s.Clock(), ActionPasswordSet)})
	if errors.Is(err, CodeConflict) {
		return Principal{}, "", errSignedOut
	}
	if err != nil {
		return Principal{}, "", err
	}
	u.PasswordHash, u.Epoch = hash, u.Epoch+1
	return s.open(ctx, by.Origin, u)
}

// errSignedOut is for a session that was ended while it changed the password:
// what ended it, such as an administrator's new password, stands.
var errSignedOut = Errorf(CodeUnauthenticated, "you were signed out meanwhile; sign in again")

// CSRFToken is what a page of the UI sends with each change, and what another
// site that has the browser send the session's cookie cannot know (the
// synchronizer token pattern): the secret's HMAC-SHA-256, in hex.
func CSRFToken(secret Secret) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("countersign forgery token"))
	return hex.EncodeToString(mac.Sum(nil))
}

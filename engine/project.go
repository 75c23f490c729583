package engine

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// Role is what a person or API key may do in a project. Each includes those below it.
type Role string

// The roles, lowest first.
const (
	RoleViewer   Role = "viewer"
	RoleOperator Role = "operator"
	RoleApprover Role = "approver"
	RoleAdmin    Role = "admin"
)

var rank = map[Role]int{RoleViewer: 1, RoleOperator: 2, RoleApprover: 3, RoleAdmin: 4}

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return rank[r] > 0 }

// Includes reports whether r permits what other permits. The zero role permits nothing.
func (r Role) Includes(other Role) bool { return rank[r] >= rank[other] }

// Min returns the lower of two roles.
func (r Role) Min(other Role) Role {
	if r.Includes(other) {
		return other
	}
	return r
}

// Project owns certificates, members, API keys, a policy and an audit chain.
type Project struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// User is the account of a person. PasswordHash is an argon2id string (RFC 9106),
// empty if the user cannot sign in with a password. PasswordSetByOther says that
// another person set it, and its owner has not changed it since. Epoch counts how
// often all of the user's sessions were ended.
type User struct {
	ID                 string    `json:"id"`
	Username           string    `json:"username"`
	Name               string    `json:"name"`
	Email              string    `json:"email"`
	PasswordHash       string    `json:"password_hash"`
	PasswordSetByOther bool      `json:"password_set_by_other"`
	SystemAdmin        bool      `json:"system_admin"`
	Disabled           bool      `json:"disabled"`
	Epoch              int       `json:"epoch"`
	Losses             Losses    `json:"losses"`
	CreatedAt          time.Time `json:"created_at"`
}

// Losses counts how often a user was disabled, and how often they stopped being a
// system administrator. API keys and votes keep the counts of their time: what was
// lost since does not come back to them, even if it came back to the user.
type Losses struct {
	Disablings  int `json:"disablings"`
	Withdrawals int `json:"withdrawals"`
}

// since is the user as an API key or a vote sees them that was made when the user
// had had the earlier losses.
func (u User) since(earlier Losses) User {
	u.Disabled = u.Disabled || u.Losses.Disablings != earlier.Disablings
	u.SystemAdmin = u.SystemAdmin && u.Losses.Withdrawals == earlier.Withdrawals
	return u
}

// Member gives a user a role in a project. FormerUntil is when an earlier
// membership of theirs ended, zero for none.
type Member struct {
	ProjectID   string    `json:"project_id"`
	UserID      string    `json:"user_id"`
	Role        Role      `json:"role"`
	CreatedAt   time.Time `json:"created_at"`
	FormerUntil time.Time `json:"former_until"`
}

// APIKey lets a program act for its owner in one project, with at most Role. A key
// whose project is SystemChain is a key of the system: it acts for a system
// administrator everywhere.
// SecretDigest is the SHA-256 of the secret in hex; 256 random bits need no slower
// hash. The zero ExpiresAt means that the key does not expire.
//
// A key ends for good with what it was made from, which its last three members
// name: the keys through which it was made, oldest first; the CreatedAt of its
// owner's membership; and its owner's Losses.
type APIKey struct {
	ID           string    `json:"id"`
	ProjectID    string    `json:"project_id"`
	OwnerID      string    `json:"owner_id"`
	Name         string    `json:"name"`
	Role         Role      `json:"role"`
	SecretDigest string    `json:"secret_digest"`
	CreatedAt    time.Time `json:"created_at"`
	ExpiresAt    time.Time `json:"expires_at"`
	RevokedAt    time.Time `json:"revoked_at"`
	MadeBy       []string  `json:"made_by"`
	MemberSince  time.Time `json:"member_since"`
	OwnerLosses  Losses    `json:"owner_losses"`
	// CertificateSHA256 is the SHA-256 of the client certificate without which the key is
	// refused, in hex, or "".
	CertificateSHA256 string `json:"client_certificate_sha256,omitempty"`
}

// ofSystem reports whether the key is one of the system.
func (k APIKey) ofSystem() bool { return k.ProjectID == SystemChain }

// Usable reports whether the key is neither revoked nor expired at now.
func (k APIKey) Usable(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// NewAPIKeySecret makes the secret of an API key (256 bits) and its digest.
func NewAPIKeySecret() (Secret, string) {
	secret := Secret("csk_" + strings.ToLower(rand.Text()+rand.Text()))
	return secret, SecretDigest(secret)
}

// SecretDigest is how a token or API key is looked up: SHA-256, in hex.
func SecretDigest(s Secret) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Actor says in records who did something. ID and Name are those of the API key if
// one was used. Person is always the id of the user behind it, and Username that
// user's name.
type Actor struct {
	Type     string `json:"type"`
	ID       string `json:"id"`
	Name     string `json:"name"`
	Person   string `json:"person"`
	Username string `json:"username,omitempty"`
}

// The types of actor.
const (
	ActorUser   = "user"
	ActorAPIKey = "api_key"
	ActorSystem = "system"
)

// System is the actor of what no person does, such as an expiry.
var System = Actor{Type: ActorSystem, ID: "system", Name: "Countersign"}

// UserChange changes the members of a user that are not nil. PasswordSetByOther is
// of a new PasswordHash. SignOut ends all of the user's sessions. IfEpoch, unless
// nil, must still be the user's Epoch.
type UserChange struct {
	IfEpoch            *int
	PasswordHash       *string
	PasswordSetByOther bool
	Disabled           *bool
	SystemAdmin        *bool
	SignOut            bool
}

// Apply returns the user after the change.
func (c UserChange) Apply(u User) User {
	if c.PasswordHash != nil {
		u.PasswordHash, u.PasswordSetByOther = *c.PasswordHash, c.PasswordSetByOther
	}
	if c.Disabled != nil {
		u.Disabled = *c.Disabled
	}
	if c.SystemAdmin != nil {
		u.SystemAdmin = *c.SystemAdmin
	}
	u.Losses.Disablings += c.Losses().Disablings
	u.Losses.Withdrawals += c.Losses().Withdrawals
	if c.SignOut {
		u.Epoch++
	}
	return u
}

// Losses is what the change takes from the user.
func (c UserChange) Losses() (l Losses) {
	if c.Disabled != nil && *c.Disabled {
		l.Disablings = 1
	}
	if c.SystemAdmin != nil && !*c.SystemAdmin {
		l.Withdrawals = 1
	}
	return l
}

// Principal is an authenticated caller: a person through an API key or a session.
type Principal struct {
	User    User
	Key     *APIKey
	Session *Session
}

// losses are those that what the caller makes now is made under: a key passes on its
// own, so that nothing made through it outlives it.
func (p Principal) losses() Losses {
	if p.Key != nil {
		return p.Key.OwnerLosses
	}
	return p.User.Losses
}

// Actor is the caller in records.
func (p Principal) Actor() Actor {
	if p.Key != nil {
		return Actor{Type: ActorAPIKey, ID: p.Key.ID, Name: p.Key.Name, Person: p.User.ID, Username: p.User.Username}
	}
	return Actor{Type: ActorUser, ID: p.User.ID, Name: p.User.Username, Person: p.User.ID, Username: p.User.Username}
}

// RoleIn is the caller's role in a project, given their membership (zero for none).
// An API key never permits more than its own role, in its own project, and never
// more than its owner's present role. Neither a key nor a session permits anything
// through a membership that followed the removal of an earlier one since it was made.
func (p Principal) RoleIn(projectID string, m Member) Role {
	if p.Key == nil {
		former := p.Session != nil && !p.Session.CreatedAt.After(m.FormerUntil)
		return roleOf(p.User, m, !former)
	}
	if p.Key.ProjectID != projectID && !p.Key.ofSystem() {
		return ""
	}
	return roleOf(p.User.since(p.Key.OwnerLosses), m, p.Key.MemberSince.Equal(m.CreatedAt)).Min(p.Key.Role)
}

// roleOf is a person's role in a project. A system administrator is one everywhere;
// otherwise the membership counts, if it is the one that the caller acts through.
func roleOf(u User, m Member, through bool) Role {
	switch {
	case u.SystemAdmin:
		return RoleAdmin
	case through:
		return m.Role
	}
	return ""
}

// IsSystemAdmin reports whether the caller may administer the whole system: a system
// administrator by a session, or by an API key of the system.
func (p Principal) IsSystemAdmin() bool {
	if p.Key == nil {
		return p.User.SystemAdmin
	}
	return p.Key.ofSystem() && p.User.since(p.Key.OwnerLosses).SystemAdmin
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Admin holds the use cases of administrators: certificates, policies, members,
// API keys, users, projects and plugins. Every change is in the audit log with
// the person who made it. All fields must be set.
type Admin struct {
	Store     AdminStore
	Keys      Keys
	Passwords Passwords
	Plugins   Plugins
	Clock     Clock
}

// AdminStore is what [Admin] reads and writes; [Store] documents the methods.
type AdminStore interface {
	CreateProject(ctx context.Context, p Project, first Member, rec Record) error
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
	CreateCertificate(ctx context.Context, c Certificate, key *SealedKey, rec Record) error
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	AddPolicy(ctx context.Context, p CertificatePolicy, rec Record) error
	CreateUser(ctx context.Context, u User, rec Record) error
	User(ctx context.Context, id string) (User, error)
	ChangeUser(ctx context.Context, userID string, change UserChange, rec Record) error
	SetMember(ctx context.Context, m Member, rec Record) error
	RemoveMember(ctx context.Context, projectID, userID string, at time.Time, rec Record) error
	Member(ctx context.Context, projectID, userID string) (Member, error)
	CreateAPIKey(ctx context.Context, k APIKey, rec Record) error
	APIKey(ctx context.Context, id string) (APIKey, error)
	RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec Record) error
	Append(ctx context.Context, e AuditEntry) error
}

// Plugins is the plugin host. Reload returns CodeNotFound for a name that it does
// not know.
type Plugins interface {
	Plugins() []PluginState
	Reload(name string) error
}

const maxName = 200

// checkName refuses names that people would see as another name, or on several lines.
func checkName(member, name string) error {
	if strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > maxName {
		return Errorf(CodeInvalidRequest, "%s must have 1 to %d characters", member, maxName)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return Errorf(CodeInvalidRequest, "%s contains the character %U, which changes lines or the direction of text; remove it", member, r)
		}
	}
	return nil
}

// Import stores a certificate that was verified to match its chain and key.
func (a *Admin) Import(ctx context.Context, by Caller, name string, b Bundle) (Certificate, error) {
	if err := checkName("name", name); err != nil {
		return Certificate{}, err
	}
	c := Certificate{ID: NewID("cert"), ProjectID: by.Project.ID, Name: name, HasPrivateKey: b.PrivateKey != nil, Chain: [][]byte{}, Warnings: b.Warnings, CreatedAt: a.Clock()}
	c.SetLeaf(b.Leaf)
	for _, issuer := range b.Chain {
		c.Chain = append(c.Chain, issuer.Raw)
	}
	var sealed *SealedKey
	if b.PrivateKey != nil {
		s, err := a.Keys.Seal(ctx, KeyIdentity(c.ProjectID, c.ID), b.PrivateKey)
		if err != nil {
			return Certificate{}, fmt.Errorf("import: %w", err)
		}
		sealed = &s
	}
	e := by.Entry(c.CreatedAt, ActionCertificateImported)
	e.CertificateID, e.Detail = c.ID, map[string]string{"name": c.Name, "fingerprint_sha256": c.Fingerprint}
	event := &Event{
		ID: "import/" + c.ID, ProjectID: c.ProjectID, CertificateID: c.ID, Type: ActionCertificateImported,
		Time: c.CreatedAt, Actor: e.Actor, IP: by.IP,
	}
	documents := []document{c.document()}
	if sealed != nil {
		documents = append(documents, sealed.document(c))
	}
	return c, a.Store.CreateCertificate(ctx, c, sealed, Record{Audit: e, Event: event}.writes(documents...))
}

// SetPolicy makes p the project's certificate policy. ifMatch, unless empty, is
// the ETag of the policy it was made from: CodePreconditionFailed if another
// came between.
func (a *Admin) SetPolicy(ctx context.Context, by Caller, p CertificatePolicy, ifMatch string) (CertificatePolicy, error) {
	if err := p.Validate(); err != nil {
		return p, err
	}
	for {
		current, err := a.Store.CertificatePolicy(ctx, by.Project.ID)
		if err != nil {
			return p, err
		}
		if ifMatch != "" && ifMatch != "*" && ifMatch != current.ETag() {
			return p, Errorf(CodePreconditionFailed, "the policy was changed meanwhile; read it again")
		}
		p.ProjectID, p.Version, p.UpdatedBy, p.UpdatedAt = by.Project.ID, current.Version+1, by.Actor(), a.Clock()
		e := by.Entry(p.UpdatedAt, ActionPolicyUpdated)
		e.Detail = policyChanges(current, p)
		if err := a.Store.AddPolicy(ctx, p, Record{Audit: e}.writes(p.document())); !errors.Is(err, CodeConflict) {
			return p, err
		}
	}
}

// policyChanges names what differs, as "old → new".
func policyChanges(old, new CertificatePolicy) map[string]string {
	changes := map[string]string{"version": strconv.Itoa(new.Version)}
	for _, m := range []struct {
		name     string
		old, new any
	}{
		{"allow_key_export", old.AllowKeyExport, new.AllowKeyExport},
		{"approval", old.Approval, new.Approval},
		{"token_ttl_seconds", old.TokenTTLSeconds, new.TokenTTLSeconds},
		{"min_passphrase_length", old.MinPassphraseLength, new.MinPassphraseLength},
		{"allow_legacy_encryption", old.AllowLegacyEncryption, new.AllowLegacyEncryption},
	} {
		if m.old != m.new {
			changes[m.name] = fmt.Sprintf("%+v → %+v", m.old, m.new)
		}
	}
	return changes
}

// SetMember gives a user a role in the caller's project.
func (a *Admin) SetMember(ctx context.Context, by Caller, userID string, role Role) (Member, error) {
	if !role.Valid() {
		return Member{}, Errorf(CodeInvalidRequest, "role is %q; use one of viewer, operator, approver, admin", role)
	}
	if _, err := a.Store.User(ctx, userID); err != nil {
		return Member{}, err
	}
	m := Member{ProjectID: by.Project.ID, UserID: userID, Role: role, CreatedAt: a.Clock()}
	e := by.Entry(m.CreatedAt, ActionMemberUpdated)
	e.Detail = map[string]string{"user_id": userID, "role": string(role)}
	return m, a.Store.SetMember(ctx, m, Record{Audit: e}.writes(m.document()))
}

// RemoveMember takes a user out of the caller's project. Their API keys of the
// project, and what their sessions reach of it, end for good: who becomes a member
// again has to sign in again and to make new keys.
func (a *Admin) RemoveMember(ctx context.Context, by Caller, userID string) error {
	e := by.Entry(a.Clock(), ActionMemberRemoved)
	e.Detail = map[string]string{"user_id": userID}
	return a.Store.RemoveMember(ctx, by.Project.ID, userID, e.Time, Record{Audit: e}.writes(removed(tableMembers, userID)))
}

// maxMakers limits through how many keys another one may have been made.
const maxMakers = 8

// APIKeySettings are what the maker of a key decides. A zero ExpiresAt is never. See [APIKey]
// for CertificateSHA256.
type APIKeySettings struct {
	Name              string
	Role              Role
	ExpiresAt         time.Time
	CertificateSHA256 string
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// CreateAPIKey makes a key that acts for the caller, with at most their role. A key that is
// made with one that is bound to a client certificate is bound to that one, unless another is
// named. Its secret is returned here and nowhere again.
func (a *Admin) CreateAPIKey(ctx context.Context, by Caller, to APIKeySettings) (APIKey, Secret, error) {
	now, name, role, expires := a.Clock(), to.Name, to.Role, to.ExpiresAt
	if err := checkName("name", name); err != nil {
		return APIKey{}, "", err
	}
	switch {
	case !role.Valid():
		return APIKey{}, "", Errorf(CodeInvalidRequest, "role is %q; use one of viewer, operator, approver, admin", role)
	case to.CertificateSHA256 != "" && !sha256Hex.MatchString(to.CertificateSHA256):
		return APIKey{}, "", Errorf(CodeInvalidRequest, "client_certificate_sha256 is the SHA-256 of a certificate: give 64 digits of lower-case hex")
	case by.Project.ID == SystemChain && role != RoleAdmin:
		return APIKey{}, "", Errorf(CodeInvalidRequest, "an API key of the system has the role admin; make a key of a project for less")
	case !by.Role.Includes(role):
		return APIKey{}, "", Errorf(CodeForbidden, "an API key cannot have a higher role than yours, %s", by.Role)
	case by.User.PasswordSetByOther:
		return APIKey{}, "", Errorf(CodePasswordChangeRequired, "another person set your password, so an API key could be theirs; change your password first")
	case !expires.IsZero() && !expires.After(now):
		return APIKey{}, "", Errorf(CodeInvalidRequest, "expires_at is in the past; give a later time")
	case expires.UTC().Year() > 9999:
		return APIKey{}, "", Errorf(CodeInvalidRequest, "expires_at is out of range; give a year up to 9999") // RFC 3339 has no others
	case by.Key != nil && !by.Key.ExpiresAt.IsZero() && (expires.IsZero() || expires.After(by.Key.ExpiresAt)):
		return APIKey{}, "", Errorf(CodeForbidden, "an API key cannot expire later than the one that creates it; give expires_at, at the latest %s", by.Key.ExpiresAt.Format(time.RFC3339))
	case by.Key != nil && len(by.Key.MadeBy) >= maxMakers:
		return APIKey{}, "", Errorf(CodeForbidden, "this API key was itself made through %d others; use an earlier key or a session", maxMakers)
	}
	member, err := a.Store.Member(ctx, by.Project.ID, by.User.ID)
	if err != nil && !errors.Is(err, CodeNotFound) {
		return APIKey{}, "", fmt.Errorf("create API key: %w", err)
	}
	secret, secretDigest := NewAPIKeySecret()
	k := APIKey{
		ID: NewID("key"), ProjectID: by.Project.ID, OwnerID: by.User.ID, Name: name, Role: role,
		SecretDigest: secretDigest, CreatedAt: now, ExpiresAt: expires,
		MadeBy: []string{}, MemberSince: member.CreatedAt, OwnerLosses: by.losses(), CertificateSHA256: to.CertificateSHA256,
	}
	if by.Key != nil { // the new key is of the membership that its maker is of
		k.MadeBy, k.MemberSince = append(slices.Clone(by.Key.MadeBy), by.Key.ID), by.Key.MemberSince
		k.CertificateSHA256 = cmp.Or(k.CertificateSHA256, by.Key.CertificateSHA256)
	}
	if !expires.IsZero() {
		k.ExpiresAt = NormalizeTime(expires)
	}
	e := by.Entry(now, ActionAPIKeyCreated)
	e.Detail = map[string]string{"key_id": k.ID, "name": name, "role": string(role)}
	if k.CertificateSHA256 != "" {
		e.Detail["client_certificate_sha256"] = k.CertificateSHA256
	}
	return k, secret, a.Store.CreateAPIKey(ctx, k, Record{Audit: e}.writes(k.document()))
}

// RevokeAPIKey permanently revokes a key of the caller's project.
func (a *Admin) RevokeAPIKey(ctx context.Context, by Caller, id string) error {
	k, err := a.Store.APIKey(ctx, id)
	if err != nil {
		return err
	}
	k.RevokedAt = a.Clock()
	e := by.Entry(k.RevokedAt, ActionAPIKeyRevoked)
	e.Detail = map[string]string{"key_id": id}
	return a.Store.RevokeAPIKey(ctx, by.Project.ID, id, k.RevokedAt, Record{Audit: e}.writes(k.document()))
}

// MaxUsername is the largest length of a username, in characters, all of them ASCII.
const MaxUsername = 100

var username = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,99}$`)

// CreateUser adds a user with a password; with the password "" they cannot sign
// in with one. It sets the members of the password, CreatedAt and, unless it is
// given, the ID. The audit entry goes to the system chain. CodeInvalidRequest says
// that the username is not valid or taken.
func (a *Admin) CreateUser(ctx context.Context, by Caller, u User, password Secret) (User, error) {
	if !username.MatchString(u.Username) {
		return u, Errorf(CodeInvalidRequest, "username must be 1 to 100 lower-case letters, digits and . _ @ -, starting with a letter or digit")
	}
	if password != "" {
		var err error
		if u.PasswordHash, err = a.Passwords.Hash(ctx, password); err != nil {
			return u, fmt.Errorf("create user: %w", err)
		}
		u.PasswordSetByOther = by.isPerson()
	}
	if u.ID == "" {
		u.ID = NewID("user")
	}
	u.CreatedAt = a.Clock()
	e := by.Entry(u.CreatedAt, ActionUserCreated)
	e.ProjectID, e.Detail = SystemChain, map[string]string{"user_id": u.ID, "username": u.Username, "system_admin": strconv.FormatBool(u.SystemAdmin)}
	err := a.Store.CreateUser(ctx, u, Record{Audit: e}.writes(u.document()))
	if errors.Is(err, CodeExists) {
		return u, Errorf(CodeInvalidRequest, "the username %s is taken", u.Username)
	}
	return u, err
}

// UserSettings are what a system administrator changes of a user; nil leaves a
// setting as it is.
type UserSettings struct {
	Password    *Secret
	Disabled    *bool
	SystemAdmin *bool
}

// ChangeUser changes a user's settings. Every change signs the user out everywhere,
// and is in the audit log of the system and of each project in which the user is a
// member. Administrators can neither disable themselves nor stop being one: the last
// one could not come back.
func (a *Admin) ChangeUser(ctx context.Context, by Caller, userID string, to UserSettings) (User, error) {
	change := UserChange{Disabled: to.Disabled, SystemAdmin: to.SystemAdmin, SignOut: true}
	if change.Losses() != (Losses{}) && userID == by.User.ID {
		return User{}, Errorf(CodeInvalidRequest, "you cannot disable yourself or stop being a system administrator; another system administrator can do this to you")
	}
	u, err := a.Store.User(ctx, userID)
	if err != nil {
		return User{}, err
	}
	detail := map[string]string{}
	if to.Password != nil {
		hash, err := a.Passwords.Hash(ctx, *to.Password)
		if err != nil {
			return User{}, fmt.Errorf("change user: %w", err)
		}
		change.PasswordHash, change.PasswordSetByOther, detail["password"] = &hash, by.isPerson() && by.User.ID != userID, "set"
	}
	if to.Disabled != nil {
		detail["disabled"] = strconv.FormatBool(*to.Disabled)
	}
	if to.SystemAdmin != nil {
		detail["system_admin"] = strconv.FormatBool(*to.SystemAdmin)
	}
	return a.changeUser(ctx, by, u, change, ActionUserChanged, detail)
}

// SignOutUser ends every session of a user. It is in the audit logs like a change of the user.
func (a *Admin) SignOutUser(ctx context.Context, by Caller, userID string) error {
	u, err := a.Store.User(ctx, userID)
	if err != nil {
		return err
	}
	_, err = a.changeUser(ctx, by, u, UserChange{SignOut: true}, ActionUserSignedOut, map[string]string{})
	return err
}

// changeUser stores a change of a user, and records it in the system chain and in the chain of
// each of the user's projects. It adds who the user is to detail.
func (a *Admin) changeUser(ctx context.Context, by Caller, u User, change UserChange, action string, detail map[string]string) (_ User, err error) {
	detail["user_id"], detail["username"] = u.ID, u.Username
	e := by.Entry(a.Clock(), action)
	e.ProjectID, e.Detail = SystemChain, detail
	rec := Record{Audit: e}
	if rec.Copies, err = a.copies(ctx, e, u.ID); err != nil {
		return User{}, fmt.Errorf("change user: %w", err)
	}
	for { // until nobody else changes the user meanwhile
		change.IfEpoch = &u.Epoch
		changed := change.Apply(u)
		if err := a.Store.ChangeUser(ctx, u.ID, change, rec.writes(changed.document())); !errors.Is(err, CodeConflict) {
			return changed, err
		}
		if u, err = a.Store.User(ctx, u.ID); err != nil {
			return u, err
		}
	}
}

// copies are an entry once more, for each project in which a user is a member.
func (a *Admin) copies(ctx context.Context, e AuditEntry, userID string) ([]AuditEntry, error) {
	var all []AuditEntry
	err := eachOf(func(page Page) ([]Project, string, error) { return a.Store.Projects(ctx, userID, page) }, func(p Project) error {
		copied := e
		copied.Ref, copied.ProjectID = e.Ref+"/"+p.ID, p.ID
		all = append(all, copied)
		return nil
	})
	return all, err
}

// CreateProject makes a project; the caller becomes its first administrator.
func (a *Admin) CreateProject(ctx context.Context, by Caller, name string) (Project, error) {
	if err := checkName("name", name); err != nil {
		return Project{}, err
	}
	p := Project{ID: NewID("proj"), Name: name, CreatedAt: a.Clock()}
	e := by.Entry(p.CreatedAt, ActionProjectCreated)
	e.ProjectID, e.Detail = p.ID, map[string]string{"name": name}
	m := Member{ProjectID: p.ID, UserID: by.User.ID, Role: RoleAdmin, CreatedAt: p.CreatedAt}
	return p, a.Store.CreateProject(ctx, p, m, Record{Audit: e}.writes(p.document(), m.document()))
}

// ReloadPlugin starts a plugin again as the catalogue lists it now: it also adds a
// plugin that is new in the catalogue and removes one that is gone from it. The
// attempt is recorded whether or not it succeeds.
func (a *Admin) ReloadPlugin(ctx context.Context, by Caller, name string) (PluginState, error) {
	failure := a.Plugins.Reload(name)
	if errors.Is(failure, CodeNotFound) {
		return PluginState{}, failure
	}
	e := by.Entry(a.Clock(), ActionPluginReloaded)
	e.ProjectID, e.Detail = SystemChain, map[string]string{"plugin": name}
	if failure != nil {
		e.Outcome = AuditFailed
	}
	if err := a.Store.Append(ctx, e); err != nil {
		return PluginState{}, Errorf(CodeAuditUnavailable, "the plugin was reloaded, but the audit entry could not be written").Because(err)
	}
	if failure != nil {
		return PluginState{}, fmt.Errorf("reload plugin: %w", failure)
	}
	for _, p := range a.Plugins.Plugins() {
		if p.Name == name {
			return p, nil
		}
	}
	return PluginState{Name: name, State: "removed"}, nil
}

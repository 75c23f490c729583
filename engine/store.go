package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"time"
)

// Store is the whole persistence port. Every method is safe for concurrent use
// by many callers and, where the store is shared, by many processes. Errors have
// three codes: CodeNotFound for a document that does not exist, CodeExists for an
// insert whose id or unique name is taken, and CodeConflict for a change that is
// based on a version which somebody else has replaced meanwhile.
//
// A method that takes a Record writes it together with the change. A store with
// transactions writes both or neither. A store without them writes the change
// first and returns an error if the record cannot follow; calling again with the
// same record then adds what is missing.
type Store interface {
	Projects
	People
	Sessions
	Certificates
	Policies
	Requests
	Approvals
	Tokens
	NotificationTargets
	AuditLog
	DataKeys
	// Ping tells whether the store answers.
	Ping(ctx context.Context) error
	// Close releases what the store holds, after writes under way have ended.
	Close() error
}

// Page asks for a part of a listing. Limit is at least 1. Cursor is "" for the
// first part, then what the part before it returned; a foreign one is
// CodeInvalidRequest. Listings are newest first and return "" at their end.
type Page struct {
	Limit  int
	Cursor string
}

// Cursor is a place in a listing ordered by time, then id, both descending.
type Cursor struct {
	Time time.Time `json:"t"`
	ID   string    `json:"i"`
}

// String encodes the cursor for a caller, who need not understand it.
func (c Cursor) String() string {
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // a time and a string always encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Position decodes the page's cursor; ok is false for the first page.
func (p Page) Position() (at Cursor, ok bool, err error) {
	if p.Cursor == "" {
		return Cursor{}, false, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err == nil {
		err = json.Unmarshal(text, &at)
	}
	if err != nil {
		return Cursor{}, false, Errorf(CodeInvalidRequest, "cursor is not one that a listing returned").Because(err)
	}
	return at, true, nil
}

// Before is the page without what is of a time or later: its place in the listing
// is then not before that. The zero time leaves nothing out.
func (p Page) Before(t time.Time) (Page, error) {
	at, begun, err := p.Position()
	if err != nil || t.IsZero() || begun && at.Time.Before(t) {
		return p, err
	}
	t = NormalizeTime(t.Add(time.Millisecond - 1)) // stores keep milliseconds
	if t.Year() < 1 || t.Year() > 9999 {
		return p, Errorf(CodeInvalidRequest, "a time must be of the years 1 to 9999") // RFC 3339 has no others
	}
	p.Cursor = Cursor{Time: t}.String()
	return p, nil
}

// Projects keeps projects.
type Projects interface {
	// CreateProject also makes its first member, on one record.
	CreateProject(ctx context.Context, p Project, first Member, rec Record) error
	Project(ctx context.Context, id string) (Project, error)
	// Projects lists all, or those in which the person is a member.
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}

// People keeps users, memberships and API keys.
type People interface {
	// CreateUser returns CodeExists when id or username is taken.
	CreateUser(ctx context.Context, u User, rec Record) error
	User(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, username string) (User, error)
	Users(ctx context.Context, page Page) ([]User, string, error)
	// ChangeUser returns CodeConflict if the user's epoch is not the change's IfEpoch.
	ChangeUser(ctx context.Context, userID string, change UserChange, rec Record) error

	// SetMember adds the member or replaces their role.
	SetMember(ctx context.Context, m Member, rec Record) error
	RemoveMember(ctx context.Context, projectID, userID string, rec Record) error
	Member(ctx context.Context, projectID, userID string) (Member, error)
	Members(ctx context.Context, projectID string, page Page) ([]Member, string, error)

	CreateAPIKey(ctx context.Context, k APIKey, rec Record) error
	APIKeyBySecret(ctx context.Context, secretDigest string) (APIKey, error)
	APIKeys(ctx context.Context, projectID string, page Page) ([]APIKey, string, error)
	// RevokeAPIKey keeps the time of the first revocation.
	RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec Record) error
}

// Sessions keeps who is signed in.
type Sessions interface {
	CreateSession(ctx context.Context, s Session, rec Record) error
	Session(ctx context.Context, id string) (Session, error)
	// TouchSession moves SeenAt forward, never back. It changes nothing of a session
	// that ended.
	TouchSession(ctx context.Context, id string, at time.Time) error
	EndSession(ctx context.Context, id string, rec Record) error
	// PurgeSessions deletes at most limit sessions that expired before a time, and
	// tells how many.
	PurgeSessions(ctx context.Context, before time.Time, limit int) (int, error)
}

// Certificates keeps certificates, their sealed keys and their timelines.
type Certificates interface {
	// CreateCertificate stores the certificate and, unless nil, its sealed key.
	CreateCertificate(ctx context.Context, c Certificate, key *SealedKey, rec Record) error
	Certificate(ctx context.Context, projectID, id string) (Certificate, error)
	// Certificates lists those whose SearchText contains every word of query. The
	// query is in lower case; "" lists all.
	Certificates(ctx context.Context, projectID, query string, page Page) ([]Certificate, string, error)
	SealedKey(ctx context.Context, certificateID string) (SealedKey, error)
	Events(ctx context.Context, q EventQuery) ([]Event, string, error)
}

// EventQuery asks for a certificate's timeline: all of it, or what a request
// brought about.
type EventQuery struct {
	ProjectID     string
	CertificateID string
	RequestID     string
	Page
}

// Policies keeps certificate policies, each version for good.
type Policies interface {
	// CertificatePolicy returns the newest version, or DefaultPolicy.
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	// AddPolicy inserts a version. It returns CodeConflict if somebody else added
	// that version first.
	AddPolicy(ctx context.Context, p CertificatePolicy, rec Record) error
}

// RequestQuery narrows a listing of a project's requests; empty members beside
// ProjectID do not.
type RequestQuery struct {
	ProjectID     string
	Person        string
	Status        Status
	CertificateID string
	Page
}

// Requests keeps the projections of download requests.
type Requests interface {
	// OpenRequest inserts the first decision on a request with its token or
	// approval, if there is one, and the record. If the request is there already,
	// nothing of the decision changes: what is missing of the stored one's token,
	// approval and record is added, and the stored request returned.
	OpenRequest(ctx context.Context, first Transition) (Request, error)
	// AdvanceRequest writes a newer version of a request and what comes with it.
	// If exactly this version is stored already, it adds what is missing of the
	// transition that wrote it. If another version is stored that is as new or
	// newer, it writes nothing and returns CodeConflict.
	AdvanceRequest(ctx context.Context, next Transition) error
	Request(ctx context.Context, projectID, id string) (Request, error)
	// RequestByIdempotency returns the newest request under that id.
	RequestByIdempotency(ctx context.Context, idempotencyID string) (Request, error)
	Requests(ctx context.Context, q RequestQuery) ([]Request, string, error)
	// PurgeRequests deletes at most limit ended requests last changed before a
	// time, with their approvals, and tells how many.
	PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error)
}

// ApprovalQuery narrows a listing of a project's approvals; empty members beside
// ProjectID do not. Person is the requester. Settled leaves out what is pending.
type ApprovalQuery struct {
	ProjectID string
	Person    string
	Status    ApprovalStatus
	Settled   bool
	Page
}

// Approvals keeps the projections of approvals; requests bring them.
type Approvals interface {
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	Approvals(ctx context.Context, q ApprovalQuery) ([]Approval, string, error)
}

// TokenRecord is a token as issued and, once it has ended, its settlement.
type TokenRecord struct {
	Token
	End *Settlement `json:"settlement"`
}

// Tokens keeps the forensic record of download tokens.
type Tokens interface {
	Token(ctx context.Context, digest string) (TokenRecord, error)
	// Settle ends a token, once: it inserts the settlement and its record and
	// returns it, or returns the settlement that came before. won tells which,
	// by Attempt: settling again with a winning settlement wins again and adds
	// what is missing of its record.
	Settle(ctx context.Context, s Settlement, rec Record) (winner Settlement, won bool, err error)
	Tokens(ctx context.Context, projectID string, page Page) ([]TokenRecord, string, error)
	// PurgeTokens deletes at most limit settled tokens that expired before a
	// time, with their settlements, and tells how many.
	PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error)
}

// AuditQuery narrows a listing of a chain's entries; zero members beside
// ProjectID do not. Seq is the number of the one entry. Actor is an actor's id or the
// person's. From is inclusive, To exclusive.
type AuditQuery struct {
	ProjectID     string
	Seq           int64
	Action        string
	Actor         string
	CertificateID string
	RequestID     string
	From, To      time.Time
	Page
}

// AuditLog keeps the hash chains.
type AuditLog interface {
	// Append links one entry to its project's chain and returns when it is
	// durable. An entry whose Ref is on record already is not written again.
	Append(ctx context.Context, e AuditEntry) error
	// AuditEntries lists newest first, by sequence number.
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
	// AuditAfter returns up to limit entries in order, from seq+1 on.
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error)
}

// DataKeys keeps the few keys that belong to the installation, each wrapped by
// a keeper.
type DataKeys interface {
	// DataKey stores the wrapped key unless the id is taken, and returns what is
	// stored: whoever comes first decides for all.
	DataKey(ctx context.Context, id string, wrapped SealedKey) (SealedKey, error)
}

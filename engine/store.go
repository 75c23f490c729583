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
// based on a version which another caller has replaced meanwhile.
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
	NodeStore
	ColumnChecks
	DocumentCopies
	// Ping returns an error if the store does not answer.
	Ping(ctx context.Context) error
	// Close releases what the store holds, after writes under way have ended.
	Close() error
}

// Page selects a part of a listing. Limit is at least 1. Cursor is "" for the first
// page, then the cursor that the page before returned; any other cursor is
// CodeInvalidRequest. Listings are newest first; the last page returns "".
type Page struct {
	Limit  int
	Cursor string
}

// Cursor is a place in a listing that is sorted by time, then by id, both descending.
type Cursor struct {
	Time time.Time `json:"t"`
	ID   string    `json:"i"`
}

// String encodes the cursor as opaque text.
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
		return Cursor{}, false, Errorf(CodeInvalidRequest, "cursor is not valid; use one that a listing returned").Because(err)
	}
	return at, true, nil
}

// Before returns the page without the documents of time t or later. The zero time
// changes nothing.
func (p Page) Before(t time.Time) (Page, error) {
	at, begun, err := p.Position()
	if err != nil || t.IsZero() || begun && at.Time.Before(t) {
		return p, err
	}
	t = NormalizeTime(t.Add(time.Millisecond - 1)) // stores keep milliseconds
	if t.Year() < 1 || t.Year() > 9999 {
		return p, Errorf(CodeInvalidRequest, "the time is out of range; give a year from 1 to 9999") // RFC 3339 has no others
	}
	p.Cursor = Cursor{Time: t}.String()
	return p, nil
}

// Projects keeps projects.
type Projects interface {
	// CreateProject also stores the project's first member, with the same record.
	CreateProject(ctx context.Context, p Project, first Member, rec Record) error
	Project(ctx context.Context, id string) (Project, error)
	// Projects lists all projects, or those of a member unless memberID is "".
	Projects(ctx context.Context, memberID string, page Page) ([]Project, string, error)
}

// People keeps users, memberships and API keys.
type People interface {
	// CreateUser returns CodeExists when id or username is taken.
	CreateUser(ctx context.Context, u User, rec Record) error
	User(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, username string) (User, error)
	Users(ctx context.Context, page Page) ([]User, string, error)
	// ChangeUser adds the change's losses to the user's. It returns CodeConflict if
	// the user's epoch is not the change's IfEpoch.
	ChangeUser(ctx context.Context, userID string, change UserChange, rec Record) error

	// SetMember adds the member or replaces their role. It sets FormerUntil to the
	// time of the latest removal.
	SetMember(ctx context.Context, m Member, rec Record) error
	// RemoveMember ends a membership at a time. The same call by anybody completes a
	// removal whose record is missing.
	RemoveMember(ctx context.Context, projectID, userID string, at time.Time, rec Record) error
	Member(ctx context.Context, projectID, userID string) (Member, error)
	Members(ctx context.Context, projectID string, page Page) ([]Member, string, error)

	CreateAPIKey(ctx context.Context, k APIKey, rec Record) error
	APIKey(ctx context.Context, id string) (APIKey, error)
	APIKeyBySecret(ctx context.Context, secretDigest string) (APIKey, error)
	APIKeys(ctx context.Context, projectID string, page Page) ([]APIKey, string, error)
	// RevokeAPIKey keeps the time of the first revocation.
	RevokeAPIKey(ctx context.Context, projectID, id string, at time.Time, rec Record) error
}

// Sessions keeps the sessions of users who are signed in.
type Sessions interface {
	CreateSession(ctx context.Context, s Session, rec Record) error
	Session(ctx context.Context, id string) (Session, error)
	// TouchSession sets SeenAt unless it is later already. A session that has ended is
	// no error.
	TouchSession(ctx context.Context, id string, at time.Time) error
	EndSession(ctx context.Context, id string, rec Record) error
	// SessionsOf lists a user's sessions, the one that expires last first.
	SessionsOf(ctx context.Context, userID string, page Page) ([]Session, string, error)
	// PurgeSessions deletes at most limit sessions that expired before a time and
	// returns their number.
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
	// CountCertificates counts the certificates of all projects whose validity ends at from
	// or later and before until, up to a limit. Both are whole seconds.
	CountCertificates(ctx context.Context, from, until time.Time, limit int) (int, error)
	// PurgeEvents deletes at most limit events of all certificates from before a time and
	// returns their number.
	PurgeEvents(ctx context.Context, before time.Time, limit int) (int, error)
}

// EventQuery selects a certificate's timeline, or the events of one request if
// RequestID is set.
type EventQuery struct {
	ProjectID     string
	CertificateID string
	RequestID     string
	Page
}

// Policies keeps certificate policies. Every version is kept.
type Policies interface {
	// CertificatePolicy returns the newest version, or DefaultPolicy.
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	// AddPolicy inserts a version. It returns CodeConflict if another caller added
	// that version first.
	AddPolicy(ctx context.Context, p CertificatePolicy, rec Record) error
}

// RequestQuery selects requests of a project. Empty members are ignored, except
// ProjectID. Person is the requester's user id.
type RequestQuery struct {
	ProjectID     string
	Person        string
	Status        Status
	CertificateID string
	Page
}

// Requests keeps the projections of download requests.
type Requests interface {
	// OpenRequest stores a new request with its token or approval, if any, and its
	// record. If the request is stored already, it stays as it is: OpenRequest adds
	// what is missing of its token, approval and record and returns the stored one.
	OpenRequest(ctx context.Context, first Transition) (Request, error)
	// AdvanceRequest writes a newer version of a request and what comes with it.
	// If exactly this version is stored already, it adds what is missing of the
	// transition that wrote it. If another version is stored that is as new or
	// newer, it writes nothing and returns CodeConflict.
	AdvanceRequest(ctx context.Context, next Transition) error
	// CompleteRequest returns a request after it has added what is missing of the
	// transition that wrote it. What the request says, its token, approval and record
	// included, is stored then, even if another process is still writing it.
	CompleteRequest(ctx context.Context, projectID, id string) (Request, error)
	Request(ctx context.Context, projectID, id string) (Request, error)
	// RequestByIdempotency returns the newest request with that idempotency id.
	RequestByIdempotency(ctx context.Context, idempotencyID string) (Request, error)
	Requests(ctx context.Context, q RequestQuery) ([]Request, string, error)
	// UnendedRequests lists the requests of all projects that have not ended.
	UnendedRequests(ctx context.Context, page Page) ([]Request, string, error)
	// CountRequests counts the requests of a query, without its cursor, up to its limit.
	CountRequests(ctx context.Context, q RequestQuery) (int, error)
	// PurgeRequests deletes at most limit ended requests that were last changed before
	// a time, with their approvals, and returns the number of requests.
	PurgeRequests(ctx context.Context, before time.Time, limit int) (int, error)
}

// ApprovalQuery selects approvals of a project. Empty members are ignored, except
// ProjectID. Person is the requester's user id. Settled leaves out pending approvals.
type ApprovalQuery struct {
	ProjectID string
	Person    string
	Status    ApprovalStatus
	Settled   bool
	Page
}

// Approvals reads the projections of approvals. They are written with their requests.
type Approvals interface {
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	Approvals(ctx context.Context, q ApprovalQuery) ([]Approval, string, error)
	// ApprovalsPending counts the pending approvals of all projects, up to a limit, and says
	// when the first of them was made: the zero time if there is none.
	ApprovalsPending(ctx context.Context, limit int) (pending int, since time.Time, err error)
}

// TokenRecord is a token as issued and, once it has ended, its settlement.
type TokenRecord struct {
	Token
	Settlement *Settlement `json:"settlement"`
}

// Tokens keeps the forensic record of download tokens.
type Tokens interface {
	Token(ctx context.Context, digest string) (TokenRecord, error)
	// Settle ends a token once. It stores the settlement with its record and returns
	// it, or it returns the earlier settlement. won reports whether the winner has the
	// same Attempt as s: settling again with the winning settlement wins again and adds
	// what is missing of its record. CodeConflict says that no settlement is stored
	// although the audit log has the entry of one: somebody deleted it.
	Settle(ctx context.Context, s Settlement, rec Record) (winner Settlement, won bool, err error)
	Tokens(ctx context.Context, projectID string, page Page) ([]TokenRecord, string, error)
	// PurgeTokens deletes at most limit settled tokens that expired before a time, with
	// their settlements, and returns the number of tokens.
	PurgeTokens(ctx context.Context, before time.Time, limit int) (int, error)
}

// AuditQuery selects entries of a chain. Zero members are ignored, except ProjectID.
// Seq selects one entry by its number. Actor is the id of an actor, or of the person
// behind an API key. From is inclusive, To exclusive.
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
	// UseAuditKey sets the key of the chains' hashes. Call it once, before anything is
	// appended or read.
	UseAuditKey(ctx context.Context, key []byte) error
	// Append adds an entry to its project's chain and returns when it is durable. An
	// entry whose Ref is stored already is not written again.
	Append(ctx context.Context, e AuditEntry) error
	// AuditEntries lists entries by sequence number, newest first.
	AuditEntries(ctx context.Context, q AuditQuery) ([]AuditEntry, string, error)
	// AuditAfter returns up to limit entries in order, from seq+1 on.
	AuditAfter(ctx context.Context, chain string, seq int64, limit int) ([]AuditEntry, error)
	// AuditNews returns up to limit entries of several chains: those after the number
	// that after has for their chain, each chain in order. It costs the store one query,
	// however many chains there are. An entry that waits for its number is not among
	// them yet.
	AuditNews(ctx context.Context, after map[string]int64, limit int) ([]AuditEntry, error)
	// AuditWaiting counts the entries of all chains that are durable and have no number
	// yet, and says when the first of them was appended: the zero time if there is none.
	AuditWaiting(ctx context.Context) (entries int, since time.Time, err error)
	// PurgeAudit deletes at most limit entries of a chain up to a number, oldest first, and
	// returns how many. The chain goes on with the numbers that it has. A store that looks
	// by an entry's Ref whether a change is complete takes it for complete from then on.
	PurgeAudit(ctx context.Context, chain string, through int64, limit int) (int, error)
}

// DataKeys keeps the keys of the installation, each wrapped by a keeper.
type DataKeys interface {
	// DataKey stores the wrapped key unless the id is taken, and returns the stored
	// one, so that all processes get the key of the first caller.
	DataKey(ctx context.Context, id string, wrapped SealedKey) (SealedKey, error)
	// StoredDataKey returns the stored key, or CodeNotFound.
	StoredDataKey(ctx context.Context, id string) (SealedKey, error)
	// ReplaceWrapping replaces the keeper and the wrapped key of a secret of any kind. It
	// returns CodeNotFound if the secret is gone, and CodeConflict if its wrapping is not
	// the one that is to be replaced. A store that cannot write both at once writes the
	// record first: then the record may say what was not done, and never the reverse.
	ReplaceWrapping(ctx context.Context, secret WrappedSecret, next SealedKey, rec Record) error
}

// MaxMisplaced is the largest number of disagreements that [ColumnChecks] returns.
const MaxMisplaced = 100

// ColumnChecks compares documents with the values under which they are stored: those of
// columns, of ids, and of members beside the document. Whoever changes such a value, and
// not the document, makes the store find another document, or none.
type ColumnChecks interface {
	// Misplaced returns the documents of a project that are stored under other values
	// than they say, up to MaxMisplaced. A document that cannot be read is one of them.
	// Those of SystemChain are the documents of no project, or of one that does not
	// exist. The audit log is not among them: AuditAfter returns an entry that is stored
	// under other values without its hash.
	Misplaced(ctx context.Context, projectID string) ([]Disagreement, error)
}

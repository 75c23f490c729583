// Package modeltest models the life of a request that needs approval, in the
// smallest program possible: no storage, no messages, no timers. Tests compare the
// answers of the real system with the model's.
//
// Start with [New]; each method is one action at a given time, and returns the code
// with which the action must be refused, or "".
package modeltest

import (
	"maps"
	"slices"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// Lives are how long an approval waits, an approved request can be claimed, and
// a token lives.
type Lives struct{ Approval, Window, Token time.Duration }

// Model is one request.
type Model struct {
	Status engine.Status
	Votes  map[string]engine.Decision
	Tokens []Token
	// Until is when the approval expires or, once it is given, the claim window ends.
	Until time.Time

	lives     Lives
	required  int
	requester string
}

// Token is one that was claimed; End is empty while it lives.
type Token struct {
	Expires time.Time
	End     engine.SettleKind
}

// New returns the model of a request made at a time, with a quorum of required.
func New(requester string, required int, lives Lives, at time.Time) *Model {
	return &Model{
		Status: engine.StatusPendingApproval, Votes: map[string]engine.Decision{}, Until: at.Add(lives.Approval),
		lives: lives, required: required, requester: requester,
	}
}

// Clone returns an independent copy.
func (m *Model) Clone() *Model {
	c := *m
	c.Votes, c.Tokens = maps.Clone(m.Votes), slices.Clone(m.Tokens)
	return &c
}

// Approval returns the approval's status.
func (m *Model) Approval() engine.ApprovalStatus {
	given := 0
	for _, d := range m.Votes {
		if d == engine.DecisionDeny {
			return engine.ApprovalDenied
		}
		given++
	}
	switch {
	case given >= m.required:
		return engine.ApprovalApproved
	case m.Status == engine.StatusCancelled:
		return engine.ApprovalCancelled
	case m.Status == engine.StatusExpired:
		return engine.ApprovalExpired
	}
	return engine.ApprovalPending
}

// Pass lets time go by.
func (m *Model) Pass(at time.Time) {
	if t := m.token(); t != nil && t.End == "" && !at.Before(t.Expires) {
		t.End, m.Status = engine.Expired, engine.StatusExpired
		if t.Expires.Before(m.Until) && len(m.Tokens) < engine.MaxClaims {
			m.Status = engine.StatusApproved
		}
	}
	waits := m.Status == engine.StatusPendingApproval || m.Status == engine.StatusApproved
	if waits && !at.Before(m.Until) {
		m.Status = engine.StatusExpired
	}
}

// token is the latest one.
func (m *Model) token() *Token {
	if len(m.Tokens) == 0 {
		return nil
	}
	return &m.Tokens[len(m.Tokens)-1]
}

// Vote is a person's decision.
func (m *Model) Vote(at time.Time, who string, d engine.Decision) engine.Code {
	m.Pass(at)
	switch {
	case who == m.requester:
		return engine.CodeSelfApproval
	case m.Votes[who] != "":
		return engine.CodeAlreadyDecided
	case m.Status != engine.StatusPendingApproval:
		return engine.CodeNotPending
	}
	m.Votes[who] = d
	switch {
	case d == engine.DecisionDeny:
		m.Status = engine.StatusDenied
	case len(m.Votes) == m.required:
		m.Status, m.Until = engine.StatusApproved, at.Add(m.lives.Window)
	}
	return ""
}

// Cancel is the requester's.
func (m *Model) Cancel(at time.Time) engine.Code {
	m.Pass(at)
	if m.Status != engine.StatusPendingApproval && m.Status != engine.StatusApproved {
		return engine.CodeNotPending
	}
	m.Status = engine.StatusCancelled
	return ""
}

// Claim gives out a token, in the place of the one before.
func (m *Model) Claim(at time.Time) engine.Code {
	m.Pass(at)
	switch {
	case m.Status == engine.StatusPendingApproval:
		return engine.CodeNotApproved
	case m.Status.Ended() || !at.Before(m.Until) || len(m.Tokens) == engine.MaxClaims:
		return engine.CodeNotPending
	}
	if t := m.token(); t != nil && t.End == "" {
		t.End = engine.Revoked
	}
	m.Status, m.Tokens = engine.StatusIssued, append(m.Tokens, Token{Expires: at.Add(m.lives.Token)})
	return ""
}

// Redeem uses the n-th token.
func (m *Model) Redeem(at time.Time, n int) engine.Code {
	m.Pass(at)
	switch t := &m.Tokens[n]; t.End {
	case engine.Consumed:
		return engine.CodeTokenConsumed
	case engine.Revoked:
		return engine.CodeTokenRevoked
	case engine.Expired:
		return engine.CodeTokenExpired
	default:
		t.End, m.Status = engine.Consumed, engine.StatusConsumed
		return ""
	}
}

// Revoke ends the token that is out.
func (m *Model) Revoke(at time.Time) engine.Code {
	m.Pass(at)
	t := m.token()
	if t == nil || t.End != "" {
		return engine.CodeNotPending
	}
	t.End, m.Status = engine.Revoked, engine.StatusRevoked
	return ""
}

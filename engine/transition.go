package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/countersign-dev/countersign/engine/failpoint"
)

// Transitions moves a request from one state to the next. Only the request's
// workflow calls it, one transition at a time: EvaluatePolicy, then Vote, Cancel,
// Claim, Expire and RecordSettlement as things happen. The store is
// authoritative; each transition loads the request from it, so that one whose
// answer was lost in a crash is recognised when it runs again and changes
// nothing. All fields must be set.
type Transitions struct {
	Store   TransitionStore
	Policy  Policy
	Reports SettlementReports
	Clock   Clock
	Log     *slog.Logger
}

// TransitionStore is what [Transitions] reads and writes; [Store] documents the
// methods.
type TransitionStore interface {
	rightsReader
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	OpenRequest(ctx context.Context, first Transition) (Request, error)
	AdvanceRequest(ctx context.Context, next Transition) error
	Request(ctx context.Context, projectID, id string) (Request, error)
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	Token(ctx context.Context, digest string) (TokenRecord, error)
	Settle(ctx context.Context, s Settlement, rec Record) (winner Settlement, won bool, err error)
	Append(ctx context.Context, e AuditEntry) error
}

// SettlementReports are the reports that this process has accepted and not yet
// delivered to a workflow.
type SettlementReports interface {
	PendingReport(requestID string) (r SettlementReport, ok bool)
}

// Transition is one change of a request, which the store writes as a whole: the
// request, the token that it issues, the approval that changes with it, and the
// record of it.
type Transition struct {
	Request  Request
	Token    *Token
	Approval *Approval
	Record   *Record
}

// Command is a transition that a person asks for. A command that is carried out twice
// changes nothing the second time.
type Command interface {
	// For is the request that the command is for.
	For() (projectID, requestID string)
	// DoneIn reports whether the command was carried out already.
	DoneIn(r Request) bool
}

// TransitionResult is what a request's workflow continues from. Wait is how long
// nothing will be due, if that is known. Announce asks to notify people that the
// approval is settled.
type TransitionResult struct {
	Request  Request       `json:"request"`
	Wait     time.Duration `json:"wait"`
	Announce bool          `json:"announce"`
}

// advance loads a request with its approval, lets decide compute the transition,
// and stores that. A transition without a record changes nothing; what a crash
// left missing of the one before is completed then. Of two transitions at the
// same time one fails and is tried again.
func (t *Transitions) advance(ctx context.Context, projectID, requestID string, decide func(Request, Approval, time.Time) (Transition, error)) (Request, error) {
	r, err := t.Store.Request(ctx, projectID, requestID)
	if errors.Is(err, CodeNotFound) {
		return r, errRequestDeleted
	}
	if err != nil {
		return r, fmt.Errorf("load request: %w", err)
	}
	var a Approval
	if r.ApprovalID != "" {
		if a, err = t.Store.Approval(ctx, projectID, r.ApprovalID); err != nil {
			return r, fmt.Errorf("load approval: %w", err)
		}
	}
	next, err := decide(r, a.of(r), t.Clock())
	if err != nil {
		return r, err
	}
	if next.Record != nil && r.ApprovalID != "" {
		changed := a.of(next.Request)
		next.Approval = &changed
	}
	if err := t.Store.AdvanceRequest(ctx, next.describe()); err != nil {
		return r, fmt.Errorf("store transition: %w", err)
	}
	if next.Record != nil {
		failpoint.Hit("transition-stored")
	}
	return next.Request, nil
}

// errRequestDeleted says that retention deleted the request before its workflow ended.
var errRequestDeleted = errors.New("the request was deleted")

// end is the transition to an end of the request.
func (r Request) end(as Status, now time.Time, action string, by Actor, from Origin) (Transition, error) {
	r, err := r.become(as, now)
	e := r.entry(now, action, by, from)
	e.Ref = "end/" + r.ID
	return Transition{Request: r, Record: &Record{Audit: e}}, err
}

// entry begins an audit entry about the request.
func (r Request) entry(at time.Time, action string, by Actor, from Origin) AuditEntry {
	e := AuditEntry{
		ProjectID: r.ProjectID, Time: at, Action: action, Outcome: AuditSuccess, Actor: by, IP: from.IP, UserAgent: from.UserAgent,
		CertificateID: r.CertificateID, RequestID: r.ID, Format: r.Format, Detail: map[string]string{"status": string(r.Status)},
	}
	if r.ApprovalID != "" {
		e.Detail["approval_id"], e.Detail["approval_status"] = r.ApprovalID, string(r.approvalStatus())
	}
	return e
}

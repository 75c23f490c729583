package engine

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Downloads is the life of a download request: [Downloads.Mint] is called by the
// API and starts a workflow; [Downloads.Decide] is the workflow's first step;
// people may have to [Downloads.Vote] and the requester to [Downloads.Claim];
// [Downloads.Redeem] hands out the file; [Downloads.Conclude] is the workflow's
// last step. All fields must be set.
type Downloads struct {
	Store     Store
	Formats   Formats
	Keys      Keys
	Policy    Policy
	Workflows Workflows
	Clock     Clock
	Log       *slog.Logger

	system quota
}

// Workflows runs a request durably. Start begins the workflow of an order and
// waits until the request is decided: by ctx's end at the latest, or
// CodeUnavailable. A workflow that was started under this id before is
// CodeExists.
type Workflows interface {
	Start(ctx context.Context, o WorkflowInput) (Request, error)
	// Settled tells the request's workflow, off the caller's path, that its
	// token ended; interrupted says that a file may not have arrived whole. It
	// neither blocks nor fails: the workflow finds out by itself in the end.
	ReportSettlement(requestID string, interrupted bool)
	// Reused has people told, off the caller's path, that a consumed token was
	// tried again. It neither blocks nor fails, however often it is called.
	ReportReuse(t Token)
	// Vote, Cancel and Claim ask a request's workflow to take a step, and wait
	// until it is taken. They return what [Downloads.CastVote],
	// [Downloads.Withdraw] and [Downloads.Issue] refuse with, or CodeUnavailable.
	Vote(ctx context.Context, b VoteCommand) (Request, error)
	Cancel(ctx context.Context, w CancelCommand) (Request, error)
	Claim(ctx context.Context, c ClaimCommand) (Request, error)
	// Report returns what Settled was told of a request and the workflow has not
	// heard yet; known is false if this process has nothing to tell.
	PendingReport(requestID string) (interrupted, known bool)
}

// Order is a request on its way to a decision: what its workflow starts with.
// Token lacks only what the decision adds, its life. Nobody waits for an answer
// after AnswerBy.
type WorkflowInput struct {
	Request     Request         `json:"request"`
	Token       Token           `json:"token"`
	Role        Role            `json:"role"`
	ProjectName string          `json:"project_name"`
	Passphrase  PassphraseFacts `json:"passphrase"`
	AnswerBy    time.Time       `json:"answer_by"`
}

// Origin is where a call came from.
type Origin struct {
	IP        string
	UserAgent string
}

// Caller is an authenticated caller inside a project.
type Caller struct {
	Principal
	Role    Role
	Project Project
	Origin
}

// entry begins an audit entry of the caller's in their project.
func (c Caller) entry(at time.Time, action, outcome string) AuditEntry {
	return AuditEntry{
		Ref: NewID("aud"), ProjectID: c.Project.ID, Time: at, Action: action, Outcome: outcome,
		Actor: c.Actor(), IP: c.IP, UserAgent: c.UserAgent,
	}
}

// Entry begins the audit entry of something the caller did.
func (c Caller) Entry(at time.Time, action string) AuditEntry {
	return c.entry(at, action, AuditSuccess)
}

// Refusal is the audit entry of something the caller was not allowed to do.
func (c Caller) Refusal(at time.Time, action string, code Code) AuditEntry {
	e := c.entry(at, action, AuditRefused)
	e.Detail = map[string]string{"code": string(code)}
	return e
}

// sameAddress compares two textual IP addresses, IPv4-mapped forms included.
func sameAddress(a, b string) bool {
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	return errA == nil && errB == nil && x.Unmap() == y.Unmap()
}

// record appends an entry that no change stands behind, such as a refusal. The
// refusal holds whether or not it could be recorded, so a failure is logged.
func (d *Downloads) record(ctx context.Context, e AuditEntry) {
	if err := d.Store.Append(context.WithoutCancel(ctx), e); err != nil {
		d.Log.ErrorContext(ctx, "a refusal could not be put on record", "action", e.Action, "project", e.ProjectID, "error", err)
	}
}

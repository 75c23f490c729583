package engine

import (
	"context"
	"log/slog"
	"time"
)

// Downloads is what callers do with download requests, in the order of a
// request's life: Mint asks for a download; approvers Vote, and the requester may
// Cancel; the requester of an approved request Claims its token; any caller with
// the token Redeems it, and it can be Revoked before. [Transitions] is the
// counterpart for workflows. All fields must be set.
type Downloads struct {
	Store     DownloadStore
	Formats   Formats
	Keys      Keys
	Policy    Policy
	Workflows Workflows
	Refusals  *Refusals
	Limits    MintLimits
	HeldUp    func() error // why no file may be delivered now; nil if nothing holds files up
	Clock     Clock
	Log       *slog.Logger

	denials denials
	ended   endedTokens
}

// DownloadStore is what [Downloads] reads and writes; [Store] documents the
// methods.
type DownloadStore interface {
	rightsReader
	Project(ctx context.Context, id string) (Project, error)
	Certificate(ctx context.Context, projectID, id string) (Certificate, error)
	SealedKey(ctx context.Context, certificateID string) (SealedKey, error)
	CertificatePolicy(ctx context.Context, projectID string) (CertificatePolicy, error)
	Request(ctx context.Context, projectID, id string) (Request, error)
	CompleteRequest(ctx context.Context, projectID, id string) (Request, error)
	RequestByIdempotency(ctx context.Context, idempotencyID string) (Request, error)
	CountRequests(ctx context.Context, q RequestQuery) (int, error)
	Approval(ctx context.Context, projectID, id string) (Approval, error)
	Token(ctx context.Context, digest string) (TokenRecord, error)
	Settle(ctx context.Context, s Settlement, rec Record) (winner Settlement, won bool, err error)
}

// Workflows runs each request as a durable workflow.
type Workflows interface {
	// Start begins the workflow of a request and waits until the policy has
	// decided on it: by ctx's end at the latest, or CodeUnavailable. A workflow
	// that was started under this id before is CodeExists.
	Start(ctx context.Context, in WorkflowInput) (Request, error)
	// Vote, Cancel and Claim send the request's workflow a command and wait until
	// it is carried out. They return what the method of [Transitions] of the same
	// name refuses with, or CodeUnavailable.
	Vote(ctx context.Context, c VoteCommand) (Request, error)
	Cancel(ctx context.Context, c CancelCommand) (Request, error)
	Claim(ctx context.Context, c ClaimCommand) (Request, error)
	// ReportSettlement reports to the request's workflow that its token ended. It
	// neither blocks nor fails: a workflow that gets no report reads the settlement
	// when the token's life is over.
	ReportSettlement(r SettlementReport)
	// ReportReuse reports that a consumed token was tried again, so that users are
	// notified. It
	// neither blocks nor fails, however often it is called.
	ReportReuse(t Token)
}

// WorkflowInput is what the workflow of a request starts with. Token lacks its
// times, which the decision adds. The caller does not wait longer than AnswerBy.
type WorkflowInput struct {
	Request         Request           `json:"request"`
	Token           Token             `json:"token"`
	Role            Role              `json:"role"`
	ProjectName     string            `json:"project_name"`
	Certificate     PolicyCertificate `json:"certificate"`
	NeedsPassphrase bool              `json:"needs_passphrase"`
	Passphrase      PassphraseFacts   `json:"passphrase"`
	AnswerBy        time.Time         `json:"answer_by"`
}

// SettlementReport says that a request's token ended. Interrupted means that the
// file was not sent whole. Without a digest, it asks the workflow to look whether the
// token has ended.
type SettlementReport struct {
	ProjectID   string `json:"project_id"`
	RequestID   string `json:"request_id"`
	TokenDigest string `json:"token_digest"`
	Interrupted bool   `json:"interrupted"`
}

package engine

import (
	"errors"
	"fmt"
)

// Code names one way in which Countersign refuses or fails. The values are part
// of the public API.
type Code string

// The problem codes. Package api maps each to a status and a title.
const (
	CodeMalformedJSON       Code = "malformed_json"
	CodeUnauthenticated     Code = "unauthenticated"
	CodeForbidden           Code = "forbidden"
	CodeKeyExportDisabled   Code = "key_export_disabled"
	CodeLegacyDisabled      Code = "legacy_encryption_disabled"
	CodePolicyDenied        Code = "policy_denied"
	CodeSelfApproval        Code = "self_approval"
	CodePrefetchRefused     Code = "prefetch_refused"
	CodeCrossSiteRequest    Code = "cross_site_request"
	CodeIPMismatch          Code = "ip_mismatch"
	CodeNotFound            Code = "not_found"
	CodeTokenUnknown        Code = "token_unknown"
	CodeNotPending          Code = "not_pending"
	CodeNotApproved         Code = "not_approved"
	CodeAlreadyDecided      Code = "already_decided"
	CodeApprovalMismatch    Code = "approval_mismatch"
	CodeIdempotencyConflict Code = "idempotency_conflict"
	CodeConflict            Code = "conflict"
	CodePreconditionFailed  Code = "precondition_failed"
	CodeTokenExpired        Code = "token_expired"
	CodeTokenConsumed       Code = "token_consumed"
	CodeTokenRevoked        Code = "token_revoked"
	CodeBodyTooLarge        Code = "body_too_large"
	CodeUnsupportedEncoding Code = "unsupported_encoding"
	CodeInvalidRequest      Code = "invalid_request"
	CodeWrongPassword       Code = "wrong_password"
	CodeInvalidPolicy       Code = "invalid_policy"
	CodeCommentRequired     Code = "comment_required"
	CodeNoChain             Code = "no_chain"
	CodeUnknownFormat       Code = "unknown_format"
	CodePassphraseRequired  Code = "passphrase_required"
	CodePassphraseInvalid   Code = "passphrase_invalid"
	CodeInvalidOptions      Code = "invalid_options"
	CodeNoPrivateKey        Code = "no_private_key"
	CodeInvalidCertificate  Code = "invalid_certificate"
	CodeKeyMismatch         Code = "key_mismatch"
	CodeChainMismatch       Code = "chain_mismatch"
	CodeRateLimited         Code = "rate_limited"
	CodeRendererFailed      Code = "renderer_failed"
	CodeUnavailable         Code = "unavailable"
	CodeAuditUnavailable    Code = "audit_unavailable"
)

// Error is a refusal or failure that a caller may be told of. Detail and Fields
// are shown to the caller; Err is the cause, for the log alone.
type Error struct {
	Code   Code
	Detail string
	Fields map[string]any
	Err    error
}

// Errorf makes an Error whose detail is the formatted text.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// With adds a member that the problem document carries beside its detail.
func (e *Error) With(name string, value any) *Error {
	if e.Fields == nil {
		e.Fields = map[string]any{}
	}
	e.Fields[name] = value
	return e
}

// Because attaches the cause.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// Error implements error.
func (e *Error) Error() string {
	text := string(e.Code)
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first Error in err's chain, or "" if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// ErrNotFound is what a store returns for a document that does not exist.
var ErrNotFound = &Error{Code: CodeNotFound, Detail: "no such resource"}

// ErrExists is what a store returns when an insert finds its id taken.
var ErrExists = &Error{Code: CodeConflict, Detail: "already exists"}

package engine

import (
	"errors"
	"fmt"
	"maps"
)

// Code names one way in which Countersign refuses or fails. The values are part of
// the public API. A Code is also an error, so that errors.Is finds it in a chain:
// errors.Is(err, CodeNotFound).
type Code string

// Error implements error.
func (c Code) Error() string { return string(c) }

// The problem codes. Package api maps each to a status and a title.
const (
	CodeMalformedJSON          Code = "malformed_json"
	CodeUnauthenticated        Code = "unauthenticated"
	CodeForbidden              Code = "forbidden"
	CodeKeyExportDisabled      Code = "key_export_disabled"
	CodeLegacyDisabled         Code = "legacy_encryption_disabled"
	CodePolicyDenied           Code = "policy_denied"
	CodeNoLongerPermitted      Code = "no_longer_permitted"
	CodeSelfApproval           Code = "self_approval"
	CodePasswordChangeRequired Code = "password_change_required"
	CodePrefetchRefused        Code = "prefetch_refused"
	CodeCrossSiteRequest       Code = "cross_site_request"
	CodeIPMismatch             Code = "ip_mismatch"
	CodeNotFound               Code = "not_found"
	CodeTokenUnknown           Code = "token_unknown"
	CodeNotPending             Code = "not_pending"
	CodeNotApproved            Code = "not_approved"
	CodeAlreadyDecided         Code = "already_decided"
	CodeApprovalMismatch       Code = "approval_mismatch"
	CodeIdempotencyConflict    Code = "idempotency_conflict"
	CodeExists                 Code = "already_exists"
	CodeConflict               Code = "conflict"
	CodePreconditionFailed     Code = "precondition_failed"
	CodeTokenExpired           Code = "token_expired"
	CodeTokenConsumed          Code = "token_consumed"
	CodeTokenRevoked           Code = "token_revoked"
	CodeBodyTooLarge           Code = "body_too_large"
	CodeUnsupportedEncoding    Code = "unsupported_encoding"
	CodeInvalidRequest         Code = "invalid_request"
	CodeWrongPassword          Code = "wrong_password"
	CodeInvalidPolicy          Code = "invalid_policy"
	CodeCommentRequired        Code = "comment_required"
	CodeNoChain                Code = "no_chain"
	CodeUnknownFormat          Code = "unknown_format"
	CodePassphraseRequired     Code = "passphrase_required"
	CodePassphraseInvalid      Code = "passphrase_invalid"
	CodeInvalidOptions         Code = "invalid_options"
	CodeNoPrivateKey           Code = "no_private_key"
	CodeInvalidCertificate     Code = "invalid_certificate"
	CodeKeyMismatch            Code = "key_mismatch"
	CodeChainMismatch          Code = "chain_mismatch"
	CodeRateLimited            Code = "rate_limited"
	CodeRendererFailed         Code = "renderer_failed"
	CodeUnavailable            Code = "unavailable"
	CodeStorageFull            Code = "storage_full"
	CodeAuditUnavailable       Code = "audit_unavailable"
)

// Error is a refusal or failure. Callers are shown its Code, Detail and Fields; Err
// is the cause, which only the log shows.
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

// With returns a copy of e with a member that the problem document carries
// beside its detail.
func (e *Error) With(name string, value any) *Error {
	changed := *e
	changed.Fields = maps.Clone(e.Fields)
	if changed.Fields == nil {
		changed.Fields = map[string]any{}
	}
	changed.Fields[name] = value
	return &changed
}

// Because returns a copy of e with its cause.
func (e *Error) Because(err error) *Error {
	changed := *e
	changed.Err = err
	return &changed
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

// Is reports whether target is the code of e, for errors.Is.
func (e *Error) Is(target error) bool { return target == e.Code }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsError finds the first Error in err's chain. A Code that a store or another
// port returned without a detail becomes an Error with one.
func AsError(err error) (*Error, bool) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e, true
	}
	code, ok := errors.AsType[Code](err)
	if !ok {
		return nil, false
	}
	details := map[Code]string{
		CodeNotFound: "There is no such resource.",
		CodeExists:   "A resource with this id or name exists already.",
		CodeConflict: "The resource was changed by another caller; read it again.",
	}
	return Errorf(code, "%s", details[code]), true
}

// CodeOf returns the code of the first Error or Code in err's chain, or "" if
// there is none.
func CodeOf(err error) Code {
	if e, ok := AsError(err); ok {
		return e.Code
	}
	return ""
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The codes that only HTTP has.
const (
	codeInternal         engine.Code = "internal"
	codeBadRequest       engine.Code = "bad_request"
	codeMethodNotAllowed engine.Code = "method_not_allowed"
	codeRequestTimeout   engine.Code = "request_timeout"
	codeHeadersTooLarge  engine.Code = "headers_too_large"
)

// kind is how a code shows itself to callers.
type kind struct {
	status int
	title  string
}

// kinds is the one mapping from codes to what callers see.
var kinds = map[engine.Code]kind{
	codeBadRequest:                 {400, "not an HTTP request this server understands"},
	engine.CodeMalformedJSON:       {400, "malformed JSON"},
	engine.CodeUnauthenticated:     {401, "not authenticated"},
	engine.CodeForbidden:           {403, "not allowed"},
	engine.CodeKeyExportDisabled:   {403, "key export disabled"},
	engine.CodeLegacyDisabled:      {403, "legacy encryption disabled"},
	engine.CodePolicyDenied:        {403, "denied by policy"},
	engine.CodeSelfApproval:        {403, "nobody approves their own request"},
	engine.CodePrefetchRefused:     {403, "prefetch refused"},
	engine.CodeCrossSiteRequest:    {403, "not from this server's own pages"},
	engine.CodeIPMismatch:          {403, "token bound to another address"},
	engine.CodeNotFound:            {404, "not found"},
	engine.CodeTokenUnknown:        {404, "token unknown"},
	codeMethodNotAllowed:           {405, "method not allowed"},
	codeRequestTimeout:             {408, "request took too long to arrive"},
	engine.CodeNotPending:          {409, "no longer pending"},
	engine.CodeAlreadyDecided:      {409, "already decided"},
	engine.CodeNotApproved:         {409, "not approved"},
	engine.CodeApprovalMismatch:    {409, "not what was approved"},
	engine.CodeIdempotencyConflict: {409, "idempotency key used for another request"},
	engine.CodeConflict:            {409, "conflict"},
	engine.CodeTokenExpired:        {410, "token expired"},
	engine.CodeTokenConsumed:       {410, "token already used"},
	engine.CodeTokenRevoked:        {410, "token revoked"},
	engine.CodePreconditionFailed:  {412, "changed meanwhile"},
	engine.CodeBodyTooLarge:        {413, "body too large"},
	engine.CodeUnsupportedEncoding: {415, "unsupported content encoding"},
	engine.CodeInvalidRequest:      {422, "invalid request"},
	engine.CodeWrongPassword:       {422, "wrong password"},
	engine.CodeInvalidPolicy:       {422, "invalid policy"},
	engine.CodeCommentRequired:     {422, "comment required"},
	engine.CodeNoChain:             {422, "certificate has no chain"},
	engine.CodeUnknownFormat:       {422, "unknown format"},
	engine.CodePassphraseRequired:  {422, "passphrase required"},
	engine.CodePassphraseInvalid:   {422, "passphrase not acceptable"},
	engine.CodeInvalidOptions:      {422, "invalid options"},
	engine.CodeNoPrivateKey:        {422, "certificate has no private key"},
	engine.CodeInvalidCertificate:  {422, "invalid certificate"},
	engine.CodeKeyMismatch:         {422, "private key does not match"},
	engine.CodeChainMismatch:       {422, "chain does not lead from the certificate"},
	engine.CodeRateLimited:         {429, "too many attempts"},
	codeHeadersTooLarge:            {431, "request headers too large"},
	codeInternal:                   {500, "internal error"},
	engine.CodeRendererFailed:      {502, "renderer failed"},
	engine.CodeUnavailable:         {503, "unavailable"},
	engine.CodeAuditUnavailable:    {503, "audit record unavailable"},
}

// retryAfter is the member that says in how many seconds to try again; it is
// also sent as the Retry-After header.
const retryAfter = "retry_after_seconds"

// problemOf translates an error. Whatever is no engine.Error becomes "internal"
// and keeps its text to the log.
func problemOf(err error, requestID string) *wire.Problem {
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		if p.RequestID == "" {
			p.RequestID = requestID
		}
		return p
	}
	e, ok := errors.AsType[*engine.Error](err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e = engine.Errorf(engine.CodeUnavailable, "the server did not get its answer in time")
	default:
		e = engine.Errorf(codeInternal, "the server failed; its log says more under this request id")
	}
	k, known := kinds[e.Code]
	if !known {
		e = engine.Errorf(codeInternal, "the server failed; its log says more under this request id")
		k = kinds[codeInternal]
	}
	p := &wire.Problem{
		Type: wire.ProblemType + string(e.Code), Title: k.title, Status: k.status,
		Detail: e.Detail, Code: string(e.Code), RequestID: requestID, Fields: map[string]any{},
	}
	for name, value := range e.Fields {
		p.Fields[name] = value
	}
	if id, ok := p.Fields["request_id"].(string); ok {
		p.RequestID = id
	}
	return p
}

// headersOf are the headers that a problem comes with.
func headersOf(p *wire.Problem) http.Header {
	h := http.Header{}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="countersign"`)
	}
	if seconds, ok := p.Fields[retryAfter].(int); ok {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	return h
}

const maxDetail = 1000

// ofValidation translates what huma found wrong with a request. Values are never
// repeated: one of them may be a secret.
func ofValidation(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
	code, ok := map[int]engine.Code{
		http.StatusBadRequest:            engine.CodeMalformedJSON,
		http.StatusRequestTimeout:        codeRequestTimeout,
		http.StatusRequestEntityTooLarge: engine.CodeBodyTooLarge,
		http.StatusUnprocessableEntity:   engine.CodeInvalidRequest,
	}[status]
	if !ok {
		code = codeInternal
	}
	detail := ""
	switch code {
	case engine.CodeMalformedJSON:
		detail = "the body must be one JSON object in UTF-8, each member named once"
	case engine.CodeBodyTooLarge:
		detail = fmt.Sprintf("a body has at most %d bytes", maxBody)
	case engine.CodeInvalidRequest:
		detail = strings.Join(findings(errs), "; ")
	}
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	id := ""
	if ctx != nil {
		id = callOf(ctx.Context()).id
	}
	return problemOf(engine.Errorf(code, "%s", detail), id)
}

// findings says which members are wrong and why.
func findings(errs []error) []string {
	texts := []string{}
	for _, err := range errs {
		detailer, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue // only huma's own validation reports here
		}
		d := detailer.ErrorDetail()
		where, what := strings.TrimPrefix(strings.TrimPrefix(d.Location, "body."), "query."), d.Message
		if strings.Contains(what, "json:") || strings.Contains(what, "unmarshal") {
			what = "has a value of the wrong type or size" // encoding/json repeats the value
		}
		texts = append(texts, where+": "+what)
	}
	return texts
}

// huma takes these settings as package variables only.
func init() {
	huma.NewErrorWithContext = ofValidation
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return ofValidation(nil, status, msg, errs...)
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

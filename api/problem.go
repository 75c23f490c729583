package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

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
	codeMisdirected      engine.Code = "misdirected_request"
	codeHTTPSRequired    engine.Code = "https_required"
)

// kind is the status and the title of a code.
type kind struct {
	status int
	title  string
}

// kinds is the one mapping from codes to statuses and titles.
var kinds = map[engine.Code]kind{
	codeBadRequest:                    {400, "bad request"},
	engine.CodeMalformedJSON:          {400, "malformed JSON"},
	engine.CodeUnauthenticated:        {401, "not authenticated"},
	engine.CodeForbidden:              {403, "not allowed"},
	engine.CodeNoLongerPermitted:      {403, "no longer permitted"},
	engine.CodeKeyExportDisabled:      {403, "key export disabled"},
	engine.CodeLegacyDisabled:         {403, "legacy encryption disabled"},
	engine.CodePolicyDenied:           {403, "denied by policy"},
	engine.CodeSelfApproval:           {403, "own request cannot be approved"},
	engine.CodePasswordChangeRequired: {403, "password change required"},
	engine.CodePrefetchRefused:        {403, "prefetch refused"},
	engine.CodeCrossSiteRequest:       {403, "cross-site request refused"},
	engine.CodeIPMismatch:             {403, "token bound to another address"},
	codeHTTPSRequired:                 {403, "HTTPS required"},
	engine.CodeNotFound:               {404, "not found"},
	engine.CodeTokenUnknown:           {404, "token unknown"},
	codeMethodNotAllowed:              {405, "method not allowed"},
	codeRequestTimeout:                {408, "request timeout"},
	engine.CodeNotPending:             {409, "no longer pending"},
	engine.CodeAlreadyDecided:         {409, "already decided"},
	engine.CodeNotApproved:            {409, "not approved"},
	engine.CodeApprovalMismatch:       {409, "not the approved download"},
	engine.CodeIdempotencyConflict:    {409, "idempotency key used for another request"},
	engine.CodeExists:                 {409, "already exists"},
	engine.CodeConflict:               {409, "changed meanwhile"},
	engine.CodeTokenExpired:           {410, "token expired"},
	engine.CodeTokenConsumed:          {410, "token already used"},
	engine.CodeTokenRevoked:           {410, "token revoked"},
	engine.CodePreconditionFailed:     {412, "changed meanwhile"},
	engine.CodeBodyTooLarge:           {413, "body too large"},
	engine.CodeUnsupportedEncoding:    {415, "unsupported content encoding"},
	codeMisdirected:                   {421, "request for another host"},
	engine.CodeInvalidRequest:         {422, "invalid request"},
	engine.CodeWrongPassword:          {422, "wrong password"},
	engine.CodeInvalidPolicy:          {422, "invalid policy"},
	engine.CodeCommentRequired:        {422, "comment required"},
	engine.CodeNoChain:                {422, "certificate has no chain"},
	engine.CodeUnknownFormat:          {422, "unknown format"},
	engine.CodePassphraseRequired:     {422, "passphrase required"},
	engine.CodePassphraseInvalid:      {422, "passphrase not acceptable"},
	engine.CodeInvalidOptions:         {422, "invalid options"},
	engine.CodeNoPrivateKey:           {422, "certificate has no private key"},
	engine.CodeInvalidCertificate:     {422, "invalid certificate"},
	engine.CodeKeyMismatch:            {422, "private key does not match"},
	engine.CodeChainMismatch:          {422, "chain does not belong to the certificate"},
	engine.CodeRateLimited:            {429, "too many attempts"},
	codeHeadersTooLarge:               {431, "request headers too large"},
	codeInternal:                      {500, "internal error"},
	engine.CodeRendererFailed:         {502, "renderer failed"},
	engine.CodeUnavailable:            {503, "unavailable"},
	engine.CodeStorageFull:            {503, "storage full"},
	engine.CodeAuditUnavailable:       {503, "audit record unavailable"},
}

var errInternal = engine.Errorf(codeInternal, "the server failed; look for this request id in its log")

// problemOf translates an error. An error that is neither a wire.Problem nor has
// an engine.Code becomes "internal"; its text goes to the log only.
func problemOf(err error, requestID string) *wire.Problem {
	if p, ok := errors.AsType[*wire.Problem](err); ok {
		if p.RequestID == "" {
			p.RequestID = requestID
		}
		return p
	}
	e, ok := engine.AsError(err)
	switch {
	case ok:
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e = engine.Errorf(engine.CodeUnavailable, "the server did not get an answer in time; try again")
	default:
		e = errInternal
	}
	k, known := kinds[e.Code]
	if !known {
		e, k = errInternal, kinds[codeInternal]
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

// retryAfter is after how many seconds a caller should try again what was unavailable.
const retryAfter = 5

// headersOf are the headers that a problem comes with.
func headersOf(p *wire.Problem) http.Header {
	h := http.Header{}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="countersign"`)
	}
	seconds, ok := p.Fields[wire.RetryAfter].(int)
	if !ok && p.Code == string(engine.CodeUnavailable) {
		seconds, ok = retryAfter, true
	}
	if ok {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	return h
}

const maxDetail = 1000

// ofValidation translates what huma found wrong with a request. It never repeats
// a value, which may be a secret.
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
		detail = "the body must be one JSON object in UTF-8 that names each member once"
	case engine.CodeBodyTooLarge:
		detail = fmt.Sprintf("a body may have at most %d bytes", maxBody)
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

// findings lists which members are wrong and why.
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
			what = "has a value of the wrong type or size" // the text of encoding/json repeats the value
		}
		texts = append(texts, where+": "+what)
	}
	return texts
}

// configureHuma sets what huma has as package variables only. New calls it, so
// that importing this package changes nothing.
var configureHuma = sync.OnceFunc(func() {
	huma.NewErrorWithContext = ofValidation
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return ofValidation(nil, status, msg, errs...)
	}
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
})

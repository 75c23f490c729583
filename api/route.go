package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

const base = "/api/v1"

// endpoint describes one operation, for its guard and for the OpenAPI document.
// Write each one as a complete literal: what is copied from another endpoint, its
// access above all, is easily wrong and hard to see.
type endpoint struct {
	id, method, path          string
	tag, summary, description string
	access                    access
	status                    int   // of a success; by default 200, or 204 without a body
	errors                    []int // statuses beyond those that access, method, path and body imply
	responses                 map[string]*huma.Response
	load                      load
	refusedAs                 string // audit action of a missing right; engine.ActionAccessRefused by default
}

// register adds an endpoint. The guard checks who calls, what the path names and
// whether the caller may use it, before huma reads the body.
func register[I, O any](s *Server, e endpoint, handle func(ctx context.Context, k *call, in *I) (*O, error)) {
	if e.access.audience == undeclared {
		panic("endpoint " + e.id + " does not declare its access")
	}
	_, hasBody := reflect.TypeFor[I]().FieldByName("Body")
	op := huma.Operation{
		OperationID: e.id, Method: e.method, Path: e.path, Summary: e.summary, Description: e.description,
		Tags: []string{e.tag}, DefaultStatus: e.status, Responses: e.responses, MaxBodyBytes: maxBody + 1,
		Parameters: pathIDs(e.path), Middlewares: huma.Middlewares{s.guard(e)}, Errors: e.refusals(hasBody),
	}
	if e.access.authenticated() {
		op.Security = []map[string][]string{{"apiKey": {}}, {"session": {}}}
	}
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		k := callOf(ctx)
		out, err := handle(ctx, k, in)
		if err != nil {
			return nil, s.refusal(ctx, k, e, err)
		}
		return out, nil
	})
	s.registered = append(s.registered, e)
}

// refusals are the error statuses that the document lists for an endpoint: those
// that the guard can answer, those of reading a body, and its own.
func (e endpoint) refusals(hasBody bool) []int {
	statuses := append([]int{
		http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}, e.errors...)
	if hasBody {
		statuses = append(statuses, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	}
	if strings.Contains(e.path, "{") {
		statuses = append(statuses, http.StatusNotFound)
	}
	if e.access.authenticated() {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusTooManyRequests)
	}
	if e.access.restricted() || e.access.authenticated() && !safe(e.method) { // the latter without a CSRF token
		statuses = append(statuses, http.StatusForbidden)
	}
	return statuses
}

// guard checks what comes before the body, refuses what would be read differently
// from how it was sent, and makes JSON of every content type.
func (s *Server) guard(e endpoint) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		c := humafiber.Unwrap(hc)
		ctx, cancel := e.load.limit(hc.Context())
		defer cancel()
		k := callOf(ctx)
		ctx = trace.ContextWithSpan(ctx, k.span)
		k.route = e.path
		leave, err := s.lanes[e.load].enter(ctx)
		if err != nil {
			p := problemOf(err, k.id)
			k.span = noop.Span{} // strangers can cause this; a counter says how often
			s.answer(c, huma.ErrorWithHeaders(p, headersOf(p)))
			return
		}
		defer func() { leave(c.Response().StatusCode() < http.StatusMultipleChoices) }()
		err = s.admit(ctx, c, k, e.access)
		if err == nil {
			err = readable(c)
		}
		if err != nil {
			s.answer(c, s.refusal(ctx, k, e, err))
			return
		}
		if k.Project.ID != "" { // that of the path was found
			k.span.SetAttributes(tracing.Project.String(k.Project.ID))
		}
		c.Request().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Request().Header.Del(fiber.HeaderAccept) // every endpoint has one form of answer
		next(huma.WithContext(hc, ctx))
	}
}

var errNotText = engine.Errorf(engine.CodeInvalidRequest, "the query is not valid UTF-8; encode it as UTF-8")

// readable refuses encoded bodies, which Fiber would decompress without limit,
// and queries that are not text.
func readable(c *fiber.Ctx) error {
	if len(c.Request().Header.Peek(fiber.HeaderContentEncoding)) > 0 {
		return engine.Errorf(engine.CodeUnsupportedEncoding, "send the body without a Content-Encoding")
	}
	for name, value := range c.Context().QueryArgs().All() {
		if !utf8.Valid(name) || !utf8.Valid(value) {
			return errNotText
		}
	}
	return nil
}

// refusal turns an error into the answer to it. It logs an error that is the
// server's fault and has a missing right recorded in the audit log.
func (s *Server) refusal(ctx context.Context, k *call, e endpoint, err error) error {
	if errors.Is(err, engine.CodeForbidden) {
		s.recordForbidden(ctx, k, e.refusedAs)
	}
	p := problemOf(err, k.id)
	k.span.SetAttributes(tracing.Code.String(p.Code))
	if p.Status >= http.StatusInternalServerError {
		s.log.ErrorContext(ctx, "request failed", "request_id", k.id, "route", k.route, "code", p.Code, "error", err)
	}
	return huma.ErrorWithHeaders(p, headersOf(p))
}

// answer writes a problem without huma: for errors before or outside an endpoint.
func (s *Server) answer(c *fiber.Ctx, err error) {
	p := problemOf(err, "")
	if h, ok := errors.AsType[huma.HeadersError](err); ok {
		for name, values := range h.GetHeaders() {
			c.Set(name, values[0])
		}
	}
	text, err := p.MarshalJSON()
	if err != nil {
		panic(err) // members of a problem are text, numbers and lists of text
	}
	c.Response().ResetBody()
	c.Set(fiber.HeaderContentType, wire.ProblemMediaType)
	c.Status(p.Status).Response().SetBody(text)
}

// publicPage registers a GET route beside the API that everybody may read, and
// that HEAD may run, because it changes nothing.
func (s *Server) publicPage(path string, handler fiber.Handler) {
	s.app.Get(path, func(c *fiber.Ctx) error {
		callOf(c.Context()).route = path
		return handler(c)
	})
	s.publicPages = append(s.publicPages, path)
}

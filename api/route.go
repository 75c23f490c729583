package api

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

const base = "/api/v1"

// endpoint describes one operation, for its guard and for the OpenAPI document.
type endpoint struct {
	id, method, path, summary string
	description, tag          string
	status                    int
	access                    access
	errors                    []int // beyond those of every endpoint of its kind
	responses                 map[string]*huma.Response
}

// register adds an endpoint. What comes before the body (who calls, what the
// path names, may they) is settled before huma reads it.
func register[I, O any](s *Server, e endpoint, handle func(ctx context.Context, k *call, in *I) (*O, error)) {
	op := huma.Operation{
		OperationID: e.id, Method: e.method, Path: e.path, Summary: e.summary, Description: e.description,
		Tags: []string{e.tag}, DefaultStatus: e.status, Responses: e.responses, MaxBodyBytes: maxBody + 1,
		Parameters: pathIDs(e.path), Middlewares: huma.Middlewares{s.guard(e)},
		Errors: append([]int{http.StatusUnsupportedMediaType, http.StatusServiceUnavailable}, e.errors...),
	}
	if !e.access.public {
		op.Security = []map[string][]string{{"apiKey": {}}, {"session": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized)
		if e.access.role != "" || e.access.system {
			op.Errors = append(op.Errors, http.StatusForbidden, http.StatusNotFound)
		}
	}
	if e.method == http.MethodPost || e.method == http.MethodPut || e.method == http.MethodPatch {
		op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
	}
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		k := callOf(ctx)
		out, err := handle(ctx, k, in)
		if err != nil {
			return nil, s.refusal(ctx, k, e, err)
		}
		return out, nil
	})
}

// guard settles what comes before the body, refuses what would be read
// differently from how it was sent, and makes JSON of every content type.
func (s *Server) guard(e endpoint) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		c := humafiber.Unwrap(hc)
		ctx := hc.Context()
		k := callOf(ctx)
		k.route = e.path
		err := s.admit(ctx, c, k, e.access)
		if err == nil {
			err = readable(c)
		}
		if err != nil {
			s.answer(c, s.refusal(ctx, k, e, err))
			return
		}
		c.Request().Header.SetContentType(fiber.MIMEApplicationJSON)
		c.Request().Header.Del(fiber.HeaderAccept) // there is one form of answer
		next(hc)
	}
}

var errNotText = engine.Errorf(engine.CodeInvalidRequest, "the query is not UTF-8")

// readable refuses encoded bodies, which Fiber would decompress without limit,
// and queries that are no text.
func readable(c *fiber.Ctx) error {
	if len(c.Request().Header.Peek(fiber.HeaderContentEncoding)) > 0 {
		return engine.Errorf(engine.CodeUnsupportedEncoding, "send the body as it is, without Content-Encoding")
	}
	for name, value := range c.Context().QueryArgs().All() {
		if !utf8.Valid(name) || !utf8.Valid(value) {
			return errNotText
		}
	}
	return nil
}

// refusal turns an error into the answer to it, logs what is the server's fault
// and puts a lack of rights on record.
func (s *Server) refusal(ctx context.Context, k *call, e endpoint, err error) error {
	if errors.Is(err, engine.CodeForbidden) {
		s.recordForbidden(ctx, k, e.access.action)
	}
	p := problemOf(err, k.id)
	if p.Status >= http.StatusInternalServerError {
		s.log.ErrorContext(ctx, "request failed", "request_id", k.id, "route", k.route, "code", p.Code, "error", err)
	}
	return huma.ErrorWithHeaders(p, headersOf(p))
}

// answer writes a problem past huma: for what happens before an endpoint or
// without one.
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

// Paging is the part of every listing's query.
type Paging struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"200" doc:"How many items at most"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next_cursor of the page before"`
}

func (p Paging) page() engine.Page { return engine.Page{Limit: p.Limit, Cursor: p.Cursor} }

// listing is the answer of a collection.
type listing[T any] struct {
	Body wire.Page[T]
}

// listed makes the answer of a page of a store's listing.
func listed[From, To any](items []From, next string, to func(From) To) *listing[To] {
	out := &listing[To]{Body: wire.Page[To]{Items: make([]To, 0, len(items))}}
	for _, item := range items {
		out.Body.Items = append(out.Body.Items, to(item))
	}
	if next != "" {
		out.Body.NextCursor = &next
	}
	return out
}

// paged cuts a page out of a list that is kept in memory, sorted by name.
func paged[From, To any](all []From, p Paging, name func(From) string, to func(From) To) (*listing[To], error) {
	at, started, err := p.page().Position()
	if err != nil {
		return nil, err
	}
	items, next := []From{}, ""
	for _, item := range all {
		switch {
		case started && name(item) <= at.ID:
		case len(items) == p.Limit:
			next = engine.Cursor{ID: name(items[len(items)-1])}.String()
			return listed(items, next, to), nil
		default:
			items = append(items, item)
		}
	}
	return listed(items, next, to), nil
}

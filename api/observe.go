package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
)

// headers are sent with every answer: no answer may be cached or framed, and an
// answer opened as a page may load and run nothing.
var headers = [][2]string{
	{fiber.HeaderCacheControl, "no-store"},
	{fiber.HeaderXContentTypeOptions, "nosniff"},
	{fiber.HeaderReferrerPolicy, "no-referrer"},
	{fiber.HeaderXFrameOptions, "DENY"},
	{fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
}

// strictTransport makes browsers use HTTPS for this host, and nothing else, for a year
// (RFC 6797).
const strictTransport = "max-age=31536000"

// setHeaders sets what every answer has. A browser applies what it is told of localhost
// to every program of its machine, so it is told nothing there.
func (s *Server) setHeaders(c *fiber.Ctx, k *call) {
	c.Set(requestIDHeader, k.id)
	for _, h := range headers {
		c.Set(h[0], h[1])
	}
	if _, loopback, err := hostName(k.host); s.options.TLS != nil && err == nil && !loopback {
		c.Set(fiber.HeaderStrictTransportSecurity, strictTransport)
	}
}

// observe wraps every request: it makes the call, answers errors that happen
// outside the endpoints, and writes a log record and metrics. They name the
// pattern of the path, because the path itself may hold a token.
func (s *Server) observe(c *fiber.Ctx) error {
	k := s.begin(c)
	s.setHeaders(c, k)
	var err error
	if !slices.Contains(probes, c.Path()) { // load balancers name the host as they like, and nobody reads their traces
		_, k.span = tracing.Call(context.Background(), s.options.Traces, c.Get("traceparent"))
		err = s.checkHost(k.sender)
	}
	if err == nil {
		err = s.recovered(c, k)
	}
	if err != nil {
		s.answerError(c, k, err)
	}
	// A duration needs the monotonic clock; the injected clock returns only the time of day.
	status, took := c.Response().StatusCode(), time.Since(c.Context().Time())
	s.metrics.served(c.Method(), k.route, status, took)
	if k.refusedStranger(status) {
		k.span = noop.Span{}
	}
	tracing.Answered(k.span, c.Method(), k.route, status)
	level := slog.LevelInfo
	if slices.Contains(probes, k.route) {
		level = slog.LevelDebug // machines ask every few seconds
	}
	log := s.log
	if k.span.SpanContext().IsSampled() {
		log = log.With("trace_id", k.span.SpanContext().TraceID())
	}
	log.Log(c.UserContext(), level, "request", "request_id", k.id, "method", c.Method(), "route", k.route,
		"status", status, "duration", took, "ip", k.IP)
	return nil
}

// refusedStranger reports whether the call was refused before anybody knew who calls. It is
// not traced: whoever can reach the server could otherwise fill the queue of the collector.
func (k *call) refusedStranger(status int) bool {
	switch status {
	case fiber.StatusUnauthorized, fiber.StatusMisdirectedRequest, fiber.StatusTooManyRequests:
		return k.User.ID == ""
	}
	return k.route == unmatched
}

// recovered runs the rest of the chain and turns a panic into an error; its stack
// goes to the log only.
func (s *Server) recovered(c *fiber.Ctx, k *call) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic", "request_id", k.id, "route", k.route, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	return c.Next()
}

// answerError answers what the endpoints do not: an unknown path or method, a
// request that cannot be read, a panic.
func (s *Server) answerError(c *fiber.Ctx, k *call, err error) {
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		err = ofFiber(e)
	}
	p := problemOf(err, k.id)
	k.span.SetAttributes(tracing.Code.String(p.Code))
	if p.Code == string(codeInternal) {
		s.log.Error("request failed", "request_id", k.id, "route", k.route, "error", err)
	}
	s.answer(c, huma.ErrorWithHeaders(p, headersOf(p)))
}

// ofFiber translates an error from Fiber, whose text may repeat the request.
func ofFiber(e *fiber.Error) error {
	switch e.Code {
	case fiber.StatusNotFound:
		return engine.Errorf(engine.CodeNotFound, "there is no page or endpoint at this path")
	case fiber.StatusMethodNotAllowed:
		return engine.Errorf(codeMethodNotAllowed, "this path does not accept this method; see the header Allow")
	case fiber.StatusRequestEntityTooLarge:
		return engine.Errorf(engine.CodeBodyTooLarge, "a body may have at most %d bytes, or %d from a caller who has not signed in", maxBody, strangerLimit)
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return engine.Errorf(codeHeadersTooLarge, "the headers of the request are too large; send fewer or shorter ones")
	case fiber.StatusRequestTimeout, fiber.StatusBadGateway: // Fiber reports a broken connection so
		return engine.Errorf(codeRequestTimeout, "the request did not arrive in time; send it again")
	case fiber.StatusBadRequest:
		return engine.Errorf(codeBadRequest, "the request is not a valid HTTP request")
	default:
		return e
	}
}

// fiberError answers requests that never reach observe because they cannot be
// read whole.
func (s *Server) fiberError(c *fiber.Ctx, err error) error {
	k := s.begin(c)
	s.setHeaders(c, k)
	if errors.Is(err, fiber.ErrRequestEntityTooLarge) {
		err = s.bodyRefusal(c, k)
	}
	s.answerError(c, k, err)
	s.metrics.served("", k.route, c.Response().StatusCode(), 0)
	return nil
}

// knownMethods refuses the methods that Fiber would answer in plain text.
func (s *Server) knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			c := s.app.AcquireCtx(ctx)
			defer s.app.ReleaseCtx(c)
			_ = s.fiberError(c, fiber.ErrMethodNotAllowed) // fiberError always answers
			return
		}
		next(ctx)
	}
}

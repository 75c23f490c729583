package api

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/engine"
)

// headers are sent with every answer. Nothing here is for caches or frames, and
// an answer opened as a page may load and run nothing.
var headers = [][2]string{
	{fiber.HeaderCacheControl, "no-store"},
	{fiber.HeaderXContentTypeOptions, "nosniff"},
	{fiber.HeaderReferrerPolicy, "no-referrer"},
	{fiber.HeaderXFrameOptions, "DENY"},
	{fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
}

// observe surrounds every request: it makes its call, answers what goes wrong
// outside the endpoints, and leaves a log record and metrics. A path is only
// ever named by its pattern, for it may hold a token.
func (s *Server) observe(c *fiber.Ctx) error {
	k := s.begin(c)
	c.Set(requestIDHeader, k.id)
	for _, h := range headers {
		c.Set(h[0], h[1])
	}
	if err := s.survive(c, k); err != nil {
		s.answerError(c, k, err)
	}
	status, took := c.Response().StatusCode(), time.Since(c.Context().Time())
	s.metrics.served(c.Method(), k.route, status, took)
	level := slog.LevelInfo
	if slices.Contains(probes, k.route) {
		level = slog.LevelDebug // asked every few seconds
	}
	s.log.Log(c.UserContext(), level, "request", "request_id", k.id, "method", c.Method(), "route", k.route,
		"status", status, "duration", took, "ip", k.IP)
	return nil
}

// survive runs the rest of the chain and turns a panic into an error, whose
// stack goes to the log alone.
func (s *Server) survive(c *fiber.Ctx, k *call) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic", "request_id", k.id, "route", k.route, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = engine.Errorf(codeInternal, "the server failed; its log says more under this request id")
		}
	}()
	return c.Next()
}

// answerError answers what the endpoints did not: a path or method that is
// none, a broken request, a panic.
func (s *Server) answerError(c *fiber.Ctx, k *call, err error) {
	if e, ok := errors.AsType[*fiber.Error](err); ok {
		err = ofFiber(e)
	}
	p := problemOf(err, k.id)
	if p.Code == string(codeInternal) {
		s.log.Error("request failed", "request_id", k.id, "route", k.route, "error", err)
	}
	s.answer(c, p)
}

// ofFiber translates an error of Fiber's, whose text may repeat the request.
func ofFiber(e *fiber.Error) error {
	switch e.Code {
	case fiber.StatusNotFound:
		return engine.Errorf(engine.CodeNotFound, "there is nothing at this path")
	case fiber.StatusMethodNotAllowed:
		return engine.Errorf(codeMethodNotAllowed, "this path does not take this method")
	case fiber.StatusRequestEntityTooLarge:
		return engine.Errorf(engine.CodeBodyTooLarge, "a body has at most %d bytes", maxBody)
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return engine.Errorf(codeHeadersTooLarge, "the request's headers are too large")
	case fiber.StatusRequestTimeout, fiber.StatusBadGateway: // Fiber's name for a connection that broke
		return engine.Errorf(codeRequestTimeout, "the request did not arrive in time")
	case fiber.StatusBadRequest:
		return engine.Errorf(codeBadRequest, "the request could not be read")
	default:
		return e
	}
}

// fiberError answers requests that never reached observe, because they could
// not be read whole.
func (s *Server) fiberError(c *fiber.Ctx, err error) error {
	k := s.begin(c)
	c.Set(requestIDHeader, k.id)
	for _, h := range headers {
		c.Set(h[0], h[1])
	}
	s.answerError(c, k, err)
	s.metrics.served("", k.route, c.Response().StatusCode(), 0)
	return nil
}

// knownMethods refuses methods that Fiber would answer in plain text.
func (s *Server) knownMethods(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if !slices.Contains(fiber.DefaultMethods, string(ctx.Method())) {
			c := s.app.AcquireCtx(ctx)
			defer s.app.ReleaseCtx(c)
			_ = s.fiberError(c, fiber.ErrMethodNotAllowed) // it always answers
			return
		}
		next(ctx)
	}
}

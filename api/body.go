package api

import (
	"context"
	"errors"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/countersign-dev/countersign/engine"
)

// limitBody says how much of a request's body is read, when its head has arrived. A
// large body is read only for a caller who is known, so that no stranger can fill
// the memory. The guard authenticates again, after the body.
//
// A caller who waits for 100 Continue gets the final answer at once if that can be
// told from the head (RFC 9110, section 10.1.1): to the HTTP library, the body is then
// too large, and nobody waits for it.
func (s *Server) limitBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	const chunked = -1 // what ContentLength returns then
	config := fasthttp.RequestConfig{ReadTimeout: readTimeout, MaxRequestBodySize: bodyLimit}
	n, waits := h.ContentLength(), string(h.Peek(fiber.HeaderExpect)) == "100-continue"
	if n <= strangerLimit && n != chunked && !waits {
		return config
	}
	known, open := s.recognise(h)
	if !known {
		config.MaxRequestBodySize = strangerLimit
	}
	if waits && (!known && !open || n > config.MaxRequestBodySize) {
		h.Del(fiber.HeaderExpect)
		h.SetContentLength(bodyLimit + 1)
	}
	return config
}

// recognise reports whether a head has a valid credential, and whether its call needs
// none. Nothing is known of the connection, so the session cookie may have either of
// its names.
func (s *Server) recognise(h *fasthttp.RequestHeader) (known, open bool) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	var request fasthttp.RequestCtx
	h.CopyTo(&request.Request.Header)
	c := s.app.AcquireCtx(&request)
	defer s.app.ReleaseCtx(c)
	return slices.ContainsFunc([]string{"http://", "https://"}, func(base string) bool {
		_, err := s.identify(ctx, c, &call{base: base})
		return err == nil || errors.Is(err, engine.CodeCrossSiteRequest) // the guard judges that
	}), s.isOpen(c)
}

// isOpen reports whether a call needs no credential.
func (s *Server) isOpen(c *fiber.Ctx) bool {
	return slices.ContainsFunc(s.registered, func(e endpoint) bool {
		return !e.access.authenticated() && e.method == c.Method() && e.path == c.Path()
	})
}

// bodyRefusal is the error of a body that is too large to be read.
func (s *Server) bodyRefusal(c *fiber.Ctx, k *call) error {
	if !s.isOpen(c) {
		if err := s.authenticate(c.UserContext(), c, k); err != nil {
			return err
		}
	}
	return fiber.ErrRequestEntityTooLarge
}

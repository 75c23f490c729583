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
func (s *Server) limitBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	config := fasthttp.RequestConfig{ReadTimeout: readTimeout}
	const chunked = -1 // what ContentLength returns then
	if n := h.ContentLength(); (n > strangerLimit || n == chunked) && !s.isKnown(h) {
		config.MaxRequestBodySize = strangerLimit
	}
	return config
}

// isKnown reports whether a head has a valid credential. Nothing is known of the
// connection, so the session cookie may have either of its names.
func (s *Server) isKnown(h *fasthttp.RequestHeader) bool {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	var request fasthttp.RequestCtx
	h.CopyTo(&request.Request.Header)
	c := s.app.AcquireCtx(&request)
	defer s.app.ReleaseCtx(c)
	return slices.ContainsFunc([]string{"http://", "https://"}, func(base string) bool {
		_, err := s.identify(ctx, c, &call{base: base})
		return err == nil || errors.Is(err, engine.CodeCrossSiteRequest) // the guard judges that
	})
}

// bodyRefusal is the error of a body that is too large to be read.
func (s *Server) bodyRefusal(c *fiber.Ctx, k *call) error {
	open := slices.ContainsFunc(s.registered, func(e endpoint) bool {
		return !e.access.authenticated() && e.method == c.Method() && e.path == c.Path()
	})
	if !open {
		if err := s.authenticate(c.UserContext(), c, k); err != nil {
			return err
		}
	}
	return fiber.ErrRequestEntityTooLarge
}

package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/engine"
)

var errNoCredential = engine.Errorf(engine.CodeUnauthenticated, "sign in, or send the header Authorization: Bearer <api key>")

// identify finds the caller from an API key in the header Authorization (RFC 6750,
// section 2.1) or, without that header, from the session cookie. It returns
// errNoCredential if the request has neither; a session that ended is the same as
// none. A credential that is not valid is CodeUnauthenticated. A browser sends a
// cookie by itself, so a session's change also needs the CSRF token.
func (s *Server) identify(ctx context.Context, c *fiber.Ctx, k *call) (engine.Principal, error) {
	if header := c.Get(fiber.HeaderAuthorization); header != "" {
		scheme, secret, _ := strings.Cut(header, " ")
		if secret = strings.TrimSpace(secret); !strings.EqualFold(scheme, "Bearer") || secret == "" {
			return engine.Principal{}, engine.Errorf(engine.CodeUnauthenticated, "the Authorization header must be: Bearer <api key>")
		}
		return s.authentication.CheckAPIKey(ctx, engine.Secret(secret), clientCertificate(c))
	}
	secret := sessionSecret(c, k)
	if secret == "" {
		return engine.Principal{}, errNoCredential
	}
	who, err := s.authentication.Resume(ctx, secret)
	switch {
	case errors.Is(err, engine.CodeNotFound):
		return engine.Principal{}, errNoCredential
	case err != nil:
		return engine.Principal{}, fmt.Errorf("look up session: %w", err)
	case !safe(c.Method()) && (crossSite(c, k) || !sameText(c.Get(csrfHeader), engine.CSRFToken(secret))):
		return engine.Principal{}, errCrossSite
	}
	return who, nil
}

// clientCertificate is the SHA-256 of the client certificate of the connection, in hex, or
// "" without one.
func clientCertificate(c *fiber.Ctx) string {
	conn, ok := c.Context().Conn().(interface{ ClientCertificate() []byte })
	if !ok {
		return ""
	}
	shown := conn.ClientCertificate()
	if shown == nil {
		return ""
	}
	sum := sha256.Sum256(shown)
	return hex.EncodeToString(sum[:])
}

// authenticate identifies the caller. A credential that is not valid counts as a
// failed login and is recorded. Nothing of it is traced; see refusedStranger.
func (s *Server) authenticate(ctx context.Context, c *fiber.Ctx, k *call) error {
	untraced := trace.ContextWithSpan(ctx, noop.Span{})
	who, err := s.identify(untraced, c, k)
	if errors.Is(err, engine.CodeUnauthenticated) && !errors.Is(err, errNoCredential) {
		if limited := s.invalidKey(untraced, k, who.Key); limited != nil {
			return limited
		}
	}
	if err != nil {
		return err
	}
	k.Principal = who
	return s.touch(ctx, c, k)
}

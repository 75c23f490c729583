package api

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// The names of the session cookie. With the prefix __Host-, which needs HTTPS,
// browsers refuse a cookie that another host set (RFC 6265bis, section 4.1.3.2).
const (
	plainCookie  = "countersign_session"
	secureCookie = "__Host-countersign_session"
)

// csrfHeader proves that a page of the UI made a change.
const csrfHeader = "X-CSRF-Token"

func cookieName(k *call) string {
	if strings.HasPrefix(k.base, "https://") {
		return secureCookie
	}
	return plainCookie
}

// sessionSecret is the content of the session cookie, or "".
func sessionSecret(c *fiber.Ctx, k *call) engine.Secret {
	return engine.Secret(c.Cookies(cookieName(k)))
}

// idleHeader marks a call that a page makes by itself while no user is active.
const idleHeader = "X-Client-Idle"

// touch records that a session was used, and notes its CSRF token for the answer.
// An open stream does not count as use, nor does what a page reads by itself:
// otherwise a page left open would keep its session for ever.
func (s *Server) touch(ctx context.Context, c *fiber.Ctx, k *call) error {
	if k.Session == nil {
		return nil
	}
	k.csrfToken = engine.CSRFToken(sessionSecret(c, k))
	if k.route == streamPath || c.Get(idleHeader) != "" {
		return nil
	}
	return s.authentication.Touch(ctx, *k.Session)
}

var errCrossSite = engine.Errorf(engine.CodeCrossSiteRequest, "a session's change must come from this server's own pages, with the header %s", csrfHeader)

// safe reports whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	return method == fiber.MethodGet || method == fiber.MethodHead || method == fiber.MethodOptions
}

// crossSite reports whether a browser says that another site made the request. What
// one header says, the other cannot take back (Fetch Metadata, section 2.4; RFC 6454,
// section 7).
func crossSite(c *fiber.Ctx, k *call) bool {
	if site := c.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return true
	}
	origin := c.Get(fiber.HeaderOrigin)
	return origin != "" && (originOf(origin) == "" || originOf(origin) != originOf(k.base))
}

// originOf is the scheme, host and port of a URL, or "" if the text has none.
func originOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return ""
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

type signInInput struct {
	Body   wire.SignInBody
	former engine.Secret // secret of the session that the browser had before
}

// Resolve implements huma.Resolver.
func (in *signInInput) Resolve(hc huma.Context) []error {
	in.former = sessionSecret(humafiber.Unwrap(hc), callOf(hc.Context()))
	return nil
}

type sessionOutput struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      wire.Session
}

type signedOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

type passwordInput struct{ Body wire.PasswordBody }

func (s *Server) sessionEndpoints() {
	register(s, endpoint{
		id: "sign-in", method: http.MethodPost, path: base + "/session", access: fromOwnPages, tag: "Users",
		summary: "Sign in with a browser",
		description: "Sets the session cookie and ends the session that the browser had before. " +
			"Calls that change something then need the header " + csrfHeader + " with csrf_token.",
		errors: []int{http.StatusUnauthorized, http.StatusTooManyRequests},
	}, s.signIn)
	register(s, endpoint{
		id: "sign-out", method: http.MethodDelete, path: base + "/session", access: signedIn, tag: "Users",
		summary: "Sign out",
	}, s.signOut)
	register(s, endpoint{
		id: "sign-out-everywhere", method: http.MethodDelete, path: base + "/sessions", access: signedIn, tag: "Users",
		summary: "Sign out everywhere",
	}, s.signOutEverywhere)
	register(s, endpoint{
		id: "set-password", method: http.MethodPut, path: base + "/me/password", access: signedIn, tag: "Users",
		summary: "Set one's own password", description: "Ends every other session.",
	}, s.setPassword)
}

func (s *Server) signOut(ctx context.Context, k *call, _ *struct{}) (*signedOut, error) {
	err := s.authentication.SignOut(ctx, k.Caller)
	if errors.Is(err, engine.CodeNotFound) { // another call ended the session meanwhile
		err = nil
	}
	return &signedOut{s.cookie(k, "", time.Time{})}, err
}

func (s *Server) signOutEverywhere(ctx context.Context, k *call, _ *struct{}) (*signedOut, error) {
	return &signedOut{s.cookie(k, "", time.Time{})}, s.authentication.SignOutEverywhere(ctx, k.Caller)
}

func (s *Server) signIn(ctx context.Context, k *call, in *signInInput) (*sessionOutput, error) {
	var who engine.Principal
	var secret engine.Secret
	err := s.withPassword(ctx, k, in.Body.Username, engine.CodeUnauthenticated, func() (err error) {
		who, secret, err = s.authentication.SignIn(ctx, k.Origin, in.Body.Username, engine.Secret(in.Body.Password.Reveal()), in.former)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.opened(k, who, secret), nil
}

func (s *Server) setPassword(ctx context.Context, k *call, in *passwordInput) (*sessionOutput, error) {
	b := in.Body
	var who engine.Principal
	var secret engine.Secret
	err := s.withPassword(ctx, k, k.User.Username, engine.CodeWrongPassword, func() (err error) {
		who, secret, err = s.authentication.ChangePassword(ctx, k.Caller, engine.Secret(b.Current.Reveal()), engine.Secret(b.New.Reveal()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.opened(k, who, secret), nil
}

func (s *Server) opened(k *call, who engine.Principal, secret engine.Secret) *sessionOutput {
	return &sessionOutput{SetCookie: s.cookie(k, secret, who.Session.ExpiresAt), Body: *s.toSession(who, engine.CSRFToken(secret))}
}

func (s *Server) toSession(who engine.Principal, csrfToken string) *wire.Session {
	return &wire.Session{
		User: toUser(who.User), CSRFToken: wire.Secret(csrfToken),
		ExpiresAt: who.Session.ExpiresAt, IdleSeconds: int(s.authentication.Idle.Seconds()),
	}
}

// cookie sets the session cookie, or removes it if the secret is "".
func (s *Server) cookie(k *call, secret engine.Secret, expires time.Time) http.Cookie {
	c := http.Cookie{ //nolint:gosec // Secure wherever callers reach the server over HTTPS
		Name: cookieName(k), Value: secret.Reveal(), Path: "/", Expires: expires,
		HttpOnly: true, Secure: cookieName(k) == secureCookie, SameSite: http.SameSiteStrictMode,
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

package api

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
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

// The session's cookie. Over HTTPS its name makes browsers see to it that no
// other host set it (RFC 6265bis, section 4.1.3.2).
const (
	plainCookie  = "countersign_session"
	secureCookie = "__Host-countersign_session"
)

// forgeryHeader proves that a change was made by a page of the UI.
const forgeryHeader = "X-CSRF-Token"

func cookieName(k *call) string {
	if strings.HasPrefix(k.base, "https://") {
		return secureCookie
	}
	return plainCookie
}

// sessionSecret is what the browser's cookie holds, or "".
func sessionSecret(c *fiber.Ctx, k *call) engine.Secret {
	return engine.Secret(c.Cookies(cookieName(k)))
}

// sessions recognises the cookie of somebody who signed in with a browser.
type sessions struct{ signIns *engine.Authentication }

var _ Authenticator = sessions{}

// Authenticate implements Authenticator. A session that ended is no failed login:
// it is as if there were none.
func (a sessions) Authenticate(ctx context.Context, c *fiber.Ctx) (engine.Principal, bool, error) {
	k, ok := c.Locals(callKey{}).(*call)
	if !ok {
		return engine.Principal{}, false, nil
	}
	secret := sessionSecret(c, k)
	if secret == "" {
		return engine.Principal{}, false, nil
	}
	who, err := a.signIns.Resume(ctx, secret)
	switch {
	case errors.Is(err, engine.CodeNotFound):
		return engine.Principal{}, false, nil
	case err != nil:
		return engine.Principal{}, true, fmt.Errorf("look up session: %w", err)
	case !safe(c.Method()) && (crossSite(c, k) || !sameText(c.Get(forgeryHeader), engine.CSRFToken(secret))):
		return engine.Principal{}, true, errForgery
	}
	return who, true, nil
}

// unattended marks what a page reads by itself while nobody touches it.
const unattended = "X-Unattended"

// seen notes that somebody used their session, and what proves that their pages
// make a change. A stream that is open all day is no use of it, and what a page
// reads because of it is none either.
func (s *Server) seen(ctx context.Context, c *fiber.Ctx, k *call) error {
	if k.Session == nil {
		return nil
	}
	k.forgeryToken = engine.CSRFToken(sessionSecret(c, k))
	if k.route == streamPath || c.Get(unattended) != "" {
		return nil
	}
	return s.options.SignIns.Touch(ctx, *k.Session)
}

var errForgery = engine.Errorf(engine.CodeCrossSiteRequest, "a change that a session makes must come from this server's own pages, with the header %s", forgeryHeader)

// safe tells whether a method changes nothing (RFC 9110, section 9.2.1).
func safe(method string) bool {
	return method == fiber.MethodGet || method == fiber.MethodHead || method == fiber.MethodOptions
}

// crossSite tells whether a browser says that another site made the request
// (Fetch Metadata, section 2.4; for browsers without it, RFC 6454, section 7).
func crossSite(c *fiber.Ctx, k *call) bool {
	if site := c.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" {
		return false
	}
	from, err := url.Parse(origin)
	base, baseErr := url.Parse(k.base)
	return err != nil || baseErr != nil || from.Host != base.Host
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

type signInInput struct {
	Body   wire.SignInBody
	former engine.Secret // of the session that the browser has now
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
	if s.options.SignIns == nil {
		return
	}
	register(s, endpoint{
		id: "sign-in", method: http.MethodPost, path: base + "/session", tag: "Users", summary: "Sign in with a browser",
		description: "Sets the session's cookie; a session that the browser had before ends. Calls that change something then need the header " + forgeryHeader + " with csrf_token.",
		access:      access{public: true, pages: true}, errors: []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests},
	}, s.signIn)
	e := endpoint{
		id: "sign-out", method: http.MethodDelete, path: base + "/session", tag: "Users", summary: "Sign out",
	}
	register(s, e, func(ctx context.Context, k *call, _ *struct{}) (*signedOut, error) {
		err := s.options.SignIns.SignOut(ctx, k.Caller)
		if errors.Is(err, engine.CodeNotFound) { // another call was faster
			err = nil
		}
		return &signedOut{s.cookie(k, "", time.Time{})}, err
	})
	e.id, e.path, e.summary = "sign-out-everywhere", base+"/sessions", "Sign out everywhere"
	register(s, e, func(ctx context.Context, k *call, _ *struct{}) (*signedOut, error) {
		return &signedOut{s.cookie(k, "", time.Time{})}, s.options.SignIns.SignOutEverywhere(ctx, k.Caller)
	})
	e.id, e.method, e.path, e.summary = "set-password", http.MethodPut, base+"/me/password", "Set one's own password"
	e.description = "Ends every other session."
	register(s, e, s.setPassword)
}

func (s *Server) signIn(ctx context.Context, k *call, in *signInInput) (*sessionOutput, error) {
	done, err := s.mayTry(k)
	if err != nil {
		return nil, err
	}
	defer done()
	who, secret, err := s.options.SignIns.SignIn(ctx, k.Origin, in.Body.Username, engine.Secret(in.Body.Password.Reveal()), in.former)
	if errors.Is(err, engine.CodeUnauthenticated) {
		s.loginFailed(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	return s.opened(k, who, secret), nil
}

func (s *Server) setPassword(ctx context.Context, k *call, in *passwordInput) (*sessionOutput, error) {
	done, err := s.mayTry(k)
	if err != nil {
		return nil, err
	}
	defer done()
	b := in.Body
	who, secret, err := s.options.SignIns.ChangePassword(ctx, k.Caller, engine.Secret(b.Current.Reveal()), engine.Secret(b.New.Reveal()))
	if errors.Is(err, engine.CodeWrongPassword) {
		s.loginFailed(ctx, k)
	}
	if err != nil {
		return nil, err
	}
	return s.opened(k, who, secret), nil
}

func (s *Server) opened(k *call, who engine.Principal, secret engine.Secret) *sessionOutput {
	return &sessionOutput{SetCookie: s.cookie(k, secret, who.Session.ExpiresAt), Body: *s.toSession(who, engine.CSRFToken(secret))}
}

func (s *Server) toSession(who engine.Principal, forgeryToken string) *wire.Session {
	return &wire.Session{
		User: toUser(who.User), CSRFToken: wire.Secret(forgeryToken),
		ExpiresAt: who.Session.ExpiresAt, IdleSeconds: int(s.options.SignIns.Idle.Seconds()),
	}
}

// cookie is the session's, or what removes it.
func (s *Server) cookie(k *call, secret engine.Secret, expires time.Time) http.Cookie {
	c := http.Cookie{ //nolint:gosec // Secure wherever the server is reached over HTTPS
		Name: cookieName(k), Value: secret.Reveal(), Path: "/", Expires: expires,
		HttpOnly: true, Secure: cookieName(k) == secureCookie, SameSite: http.SameSiteStrictMode,
	}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

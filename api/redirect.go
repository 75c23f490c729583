package api

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/countersign-dev/countersign/api/http1"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// redirectShare is which part of the limits for connections the address of the redirects
// has. Each of its connections ends after one answer.
const redirectShare = 16

// errExposed is the refusal of a request that carried a credential without TLS. A
// redirect would hide from the caller that others may have read it.
var errExposed = engine.Errorf(codeHTTPSRequired,
	"the request came without encryption, and others may have read it on the way: revoke the API key, session, token, password or private key that it contained, and use https")

// ServeRedirects answers HTTP without TLS on a listener, until the listener is closed.
// It redirects the pages of the UI to the public URL, which must be set, and refuses
// everything else: a program that sends its credential in clear must fail.
func (s *Server) ServeRedirects(l net.Listener) error {
	l = http1.Listen(l, nil, http1.Limits{
		Head: maxHead, HeadTime: readTimeout, Group: s.limitedNetwork,
		Connections: max(1, s.options.Connections/redirectShare), PerGroup: max(1, s.options.ConnectionsPerAddress/redirectShare),
	}, s.log)
	server := &http.Server{
		Handler:     http.HandlerFunc(s.redirect),
		ReadTimeout: readTimeout, WriteTimeout: readTimeout, MaxHeaderBytes: maxHead,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	server.SetKeepAlivesEnabled(false)
	if err := server.Serve(l); !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve redirects: %w", err)
	}
	return nil
}

func (s *Server) redirect(w http.ResponseWriter, r *http.Request) {
	for _, h := range headers {
		w.Header().Set(h[0], h[1])
	}
	err := s.checkRedirect(r)
	if err == nil {
		w.Header().Set("Location", s.options.PublicURL+r.URL.EscapedPath())
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	}
	p := problemOf(err, strings.ToLower(rand.Text()))
	if errors.Is(err, errExposed) {
		s.log.Warn("a request that may contain a credential came without encryption", "request_id", p.RequestID, "peer", r.RemoteAddr)
	}
	writeJSON(w, p.Status, wire.ProblemMediaType, p)
}

// checkRedirect refuses a request unless it asks for a page, without a credential.
func (s *Server) checkRedirect(r *http.Request) error {
	exposed := r.Method != http.MethodGet && r.Method != http.MethodHead || // a body may contain a password, a token or a private key
		r.Header.Get("Authorization") != "" || strings.HasPrefix(r.URL.Path, base+"/downloads/")
	for _, c := range r.Cookies() {
		exposed = exposed || c.Name == plainCookie || c.Name == secureCookie
	}
	switch {
	case exposed:
		return errExposed
	case r.URL.Path != "/" && !strings.HasPrefix(r.URL.Path, "/projects/"):
		return engine.Errorf(codeHTTPSRequired, "only pages are redirected; call %s", s.options.PublicURL)
	}
	return nil
}

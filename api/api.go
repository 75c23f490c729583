// Package api serves Countersign over HTTP: Fiber routes, authentication and
// the one mapping from the domain's errors to problem documents (RFC 9457). The
// OpenAPI 3.1 document at /openapi.json is generated from the types in api/wire.
//
// Start with [New], which takes [Options] and lists the endpoints; each is in
// the file of its concept. route.go has what all share: the guard that settles
// authentication (401), what the path names (404) and the role (403) before the
// body is read. problem.go has every code with its status and title.
//
// The package promises that no answer but a mint's holds a token, that no log
// record, metric or problem holds a secret, and that HEAD, prefetches and link
// previews never reach the code that redeems.
package api

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// Options is what a server is made from. Downloads, Admin, Notifications, Plugins
// and the two importers must be set; the zero value of every other member works.
type Options struct {
	Downloads     *engine.Downloads
	Admin         *engine.Admin
	Notifications *engine.Notifications
	Plugins       Plugins

	// ImportPEM and ImportPKCS12 read certificates in; they return the code
	// that says what is wrong with them.
	ImportPEM    func(certificate, chain, key string) (Bundle, error)
	ImportPKCS12 func(file []byte, passphrase engine.Secret) (Bundle, error)

	// Authenticators are asked after API keys and sessions.
	Authenticators []Authenticator
	// Authentication is how people sign in with a browser; without it, nobody does.
	SignIns *engine.Authentication

	// UI is the built web UI, web.Files(); without it, only the API is served.
	UI fs.FS

	// PublicURL is the address under which callers reach the server, such as
	// https://countersign.example.com. Without it, the URL in the answer to a
	// mint is made from that request's own Host header: right for one machine,
	// but the caller's claim.
	PublicURL string
	// TrustedProxies are the addresses and networks (CIDR) whose
	// X-Forwarded-For, -Proto and -Host are believed. None by default.
	TrustedProxies []string
	// UnknownTokensPerMinute is how many tokens that do not exist an address
	// may try, 60 by default. Tokens that exist are never limited.
	UnknownTokensPerMinute int

	// Stream is how streams of events keep time.
	Stream StreamPace

	// Ready are asked by /readyz.
	Ready []Check
	// PolicyStatus is detail of /readyz; without it, only the revision is.
	PolicyStatus func() engine.PolicyStatus
	// Registry holds the metrics that /metrics shows; a new one by default.
	Registry *prometheus.Registry
	Log      *slog.Logger
	// Version is shown in the OpenAPI document.
	Version string
}

// Plugins is the plugin host. Reload of a name it does not know is CodeNotFound.
type Plugins interface {
	Plugins() []engine.PluginState
	Reload(name string) error
}

// Bundle is a certificate as an importer read and verified it: the leaf, its
// issuers from the leaf upwards, and its private key (PKCS#8 DER, nil for none).
type Bundle struct {
	Leaf       *x509.Certificate
	Chain      []*x509.Certificate
	PrivateKey []byte
}

// Check is one thing that must answer before requests can be served.
type Check struct {
	Name string
	Ask  func(context.Context) error
}

// Server is the HTTP server. Make one with New.
type Server struct {
	options        Options
	downloads      *engine.Downloads
	admin          *engine.Admin
	notifications  *engine.Notifications
	store          engine.Store
	clock          engine.Clock
	log            *slog.Logger
	authenticators []Authenticator
	proxies        []netip.Prefix
	unknownTokens  *limiter
	failedLogins   *limiter
	metrics        *metrics
	app            *fiber.App
	huma           huma.API

	serving  sync.Mutex
	listener net.Listener
	stopped  bool
}

const (
	readTimeout  = 15 * time.Second
	writeTimeout = 60 * time.Second
	idleTimeout  = 75 * time.Second

	// Fiber refuses a body above this before anything else is known of the
	// request; up to it, who may not call is told so first.
	bodyLimit = 2 * maxBody
)

// New makes a server with all endpoints. It does not listen yet.
func New(o Options) (*Server, error) {
	s := &Server{
		options: o, downloads: o.Downloads, admin: o.Admin, notifications: o.Notifications, store: o.Downloads.Store, clock: o.Downloads.Clock, log: o.Log,
		authenticators: []Authenticator{apiKeys{o.Downloads.Store, o.Downloads.Clock}},
	}
	if o.SignIns != nil {
		s.authenticators = append(s.authenticators, sessions{o.SignIns})
	}
	s.authenticators = append(s.authenticators, o.Authenticators...)
	if s.log == nil {
		s.log = slog.Default()
	}
	if o.UnknownTokensPerMinute == 0 {
		o.UnknownTokensPerMinute = 60
	}
	s.unknownTokens = newLimiter(o.UnknownTokensPerMinute)
	s.failedLogins = newLimiter(failedLoginsPerMinute)
	if err := s.address(); err != nil {
		return nil, err
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	var err error
	if s.metrics, err = newMetrics(o.Registry); err != nil {
		return nil, err
	}
	s.app = fiber.New(fiber.Config{
		Immutable: true, CaseSensitive: true, DisableStartupMessage: true, DisablePreParseMultipartForm: true,
		EnableTrustedProxyCheck: true, TrustedProxies: o.TrustedProxies,
		BodyLimit: bodyLimit, ReadBufferSize: 16 << 10,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorHandler: s.fiberError,
	})
	s.app.Server().Handler = s.knownMethods(s.app.Server().Handler)
	s.app.Use(s.observe)
	s.huma = humafiber.New(s.app, documentation(o.Version))
	s.endpoints()
	if err := s.operations(o.Registry); err != nil {
		return nil, err
	}
	return s, s.ui(o.UI)
}

// address checks the settings that say where the server is reached.
func (s *Server) address() error {
	var err error
	if s.proxies, err = proxyPrefixes(s.options.TrustedProxies); err != nil {
		return err
	}
	if s.options.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(s.options.PublicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("the public URL is not of the form https://host[:port]") // not quoted: it may hold a password
	}
	s.options.PublicURL = strings.TrimSuffix(s.options.PublicURL, "/")
	return nil
}

// endpoints registers the API, concept by concept.
func (s *Server) endpoints() {
	s.downloadEndpoints()
	s.requestEndpoints()
	s.approvalEndpoints()
	s.certificateEndpoints()
	s.policyEndpoints()
	s.formatEndpoints()
	s.auditEndpoints()
	s.tokenEndpoints()
	s.apiKeyEndpoints()
	s.memberEndpoints()
	s.projectEndpoints()
	s.userEndpoints()
	s.sessionEndpoints()
	s.pluginEndpoints()
	s.notificationEndpoints()
	s.streamEndpoints()
	s.healthEndpoints()
}

// App is the Fiber application, for routes beside the API.
func (s *Server) App() *fiber.App { return s.app }

// Serve answers requests on a listener until Shutdown. It is called once.
func (s *Server) Serve(l net.Listener) error {
	if !s.open(l) {
		return nil // shut down already
	}
	if err := s.app.Listener(l); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// open notes the listener, or closes it if Shutdown came first.
func (s *Server) open(l net.Listener) bool {
	s.serving.Lock()
	defer s.serving.Unlock()
	if s.stopped {
		_ = l.Close() // nobody was served
		return false
	}
	s.listener = l
	return true
}

// Shutdown stops listening, waits for the requests under way until ctx ends,
// then breaks them off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.serving.Lock()
	defer s.serving.Unlock()
	s.stopped = true
	err := s.app.ShutdownWithContext(ctx)
	if s.listener != nil {
		// Fiber does not close a listener that it was about to accept from.
		if closed := s.listener.Close(); err == nil && !errors.Is(closed, net.ErrClosed) {
			err = closed
		}
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop serving HTTP: %w", err)
	}
	return nil
}

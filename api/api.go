// Package api serves Countersign over HTTP: Fiber routes, authentication and the
// one mapping from the domain's errors to problem documents (RFC 9457). The
// OpenAPI 3.1 document at /openapi.json is generated from the types in api/wire.
//
// Start with [New], which takes [Options] and registers the endpoints; each is in
// the file of its concept. route.go has what they share, access.go who may call
// them: the guard checks authentication (401), what the path names (404) and the
// role (403) before the body is read. problem.go has every code with its status
// and title. Package stream has the server-sent events.
//
// The package promises that only the answers to a mint and a claim hold a token,
// that no log record, metric or problem holds a secret, and that HEAD, prefetches
// and link previews never consume a token.
package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/api/http1"
	"github.com/countersign-dev/countersign/api/stream"
	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

// Options configures a server. The members up to OtherNodes must be set; the
// zero value of every other member works.
type Options struct {
	Downloads      *engine.Downloads
	Admin          *engine.Admin
	Authentication *engine.Authentication
	Notifications  *engine.Notifications
	Verifier       *engine.Verifier
	// AnchoredHead is the head of an audit chain that was last stored outside the
	// database, if any.
	AnchoredHead func(chain string) (engine.AuditHead, bool)
	Store        Store
	Clock        engine.Clock

	// ImportPEM and ImportPKCS12 read certificates; their errors have a code
	// that says what is wrong.
	ImportPEM    func(certificate, chain, key string) (engine.Bundle, error)
	ImportPKCS12 func(file []byte, passphrase engine.Secret) (engine.Bundle, error)
	// PolicyStatus reports which policy rules are active, for /readyz.
	PolicyStatus func() engine.PolicyStatus
	// OtherNodes returns the other nodes of the installation, for /readyz.
	OtherNodes func() []engine.NodeDifference

	// UI is the built web UI, web.Files(); without it, only the API is served.
	UI fs.FS

	// PublicURL is the address under which callers reach the server, such as
	// https://countersign.example.com. A request for another host is refused.
	// Without it, the URL in the answer to a mint is made from the Host header of
	// that request, which must be an IP address or localhost.
	PublicURL string
	// TLS makes the server speak HTTPS, and nothing else, by this configuration, and
	// TLSStatus reports on its certificate, for /readyz. Without both it speaks HTTP.
	TLS       *tls.Config
	TLSStatus func() wire.TLSStatus
	// ClientCertificates says that TLS asks for client certificates.
	ClientCertificates bool
	// TrustedProxies are the addresses and networks (CIDR) whose headers
	// X-Forwarded-For and X-Forwarded-Proto are believed. None by default.
	TrustedProxies []string
	// UnknownTokensPerMinute limits how many unknown tokens an address may
	// present, 60 by default. Tokens that exist are never limited.
	UnknownTokensPerMinute int

	// Connections limits how many connections are open at once, 4096 by default, and
	// ConnectionsPerAddress how many of one IPv4 address or IPv6 /64, 512 by default.
	// Trusted proxies are not limited by address.
	Connections           int
	ConnectionsPerAddress int

	// Mints limits how many mints, claims, votes and cancellations are under way at once,
	// 64 by default, Redemptions how many redemptions, 64 by default, and Calls how many
	// other calls, 256 by default. See lane.
	Mints       int
	Redemptions int
	Calls       int

	// Stream sets the intervals of event streams.
	Stream stream.Pace

	// Ready are the checks of /readyz and its parts.
	Ready []Check
	// Registry holds the metrics that OperatorServer shows; a new one by default.
	Registry *prometheus.Registry
	// Traces makes the traces of requests; none by default.
	Traces trace.TracerProvider
	Log    *slog.Logger
	// Version is shown in the OpenAPI document.
	Version string
}

// Store is what the API reads directly; it changes nothing except through the use
// cases of package engine. Each part is declared with the endpoints that need it.
type Store interface {
	accessReader
	accountReader
	projectReader
	certificateReader
	policyReader
	downloadRequestReader
	approvalReader
	installationReader
	tokenReader
	targetReader
	auditReader
	stream.Store
}

// Check is a service that must answer before requests can be served. NotToRedeem
// means that tokens can be redeemed without it.
type Check struct {
	Name        string
	NotToRedeem bool
	Ask         func(context.Context) error
}

// Server is the HTTP server. Make one with New.
type Server struct {
	options        Options
	downloads      *engine.Downloads
	admin          *engine.Admin
	authentication *engine.Authentication
	notifications  *engine.Notifications
	store          Store
	clock          engine.Clock
	log            *slog.Logger
	proxies        []netip.Prefix
	unknownTokens  *limiter[netip.Prefix]
	logins         *logins
	importing      sync.Map      // user ids of people whose PKCS#12 file is being read
	verifying      chan struct{} // filled by the one verification of the audit log that runs
	metrics        *metrics
	lanes          map[load]*lane
	app            *fiber.App
	huma           huma.API
	registered     []endpoint
	publicPages    []string
	draining       atomic.Bool

	serving  sync.Mutex
	listener net.Listener
	stopped  bool
}

const (
	// readTimeout is how long a request's head may take, counted from the connection's
	// first byte, or from its beginning if none comes; and then how long its body may take.
	readTimeout  = 15 * time.Second
	writeTimeout = 60 * time.Second
	idleTimeout  = 75 * time.Second

	// bodyLimit is the size of the largest body that is read, in bytes. Up to it, a
	// caller without the right gets 404 or 403 and not 413.
	bodyLimit = 2 * maxBody
	// strangerLimit is the same for a caller who is not known.
	strangerLimit = 16 << 10

	maxHead = 16 << 10 // size of the largest head of a request, in bytes
)

// New makes a server with all endpoints. It does not listen yet.
func New(o Options) (*Server, error) {
	configureHuma()
	s := &Server{
		options: o, downloads: o.Downloads, admin: o.Admin, authentication: o.Authentication, notifications: o.Notifications,
		store: o.Store, clock: o.Clock, log: o.Log, verifying: make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if o.UnknownTokensPerMinute == 0 {
		o.UnknownTokensPerMinute = 60
	}
	s.options.Connections = cmp.Or(o.Connections, 4096)
	s.options.ConnectionsPerAddress = cmp.Or(o.ConnectionsPerAddress, 512)
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s.options.Registry = o.Registry
	if o.Traces == nil {
		s.options.Traces = noop.NewTracerProvider()
	}
	var err error
	if s.unknownTokens, err = newLimiter[netip.Prefix](o.UnknownTokensPerMinute); err != nil {
		return nil, err
	}
	if s.logins, err = newLogins(); err != nil {
		return nil, err
	}
	if err := s.checkAddresses(); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(o); err != nil {
		return nil, err
	}
	if s.lanes, err = newLanes(o, s.log); err != nil {
		return nil, err
	}
	s.app = fiber.New(fiber.Config{
		Immutable: true, CaseSensitive: true, DisableStartupMessage: true, DisablePreParseMultipartForm: true,
		EnableTrustedProxyCheck: true, // and no proxy is trusted: senderOf alone reads what proxies say
		BodyLimit:               bodyLimit, ReadBufferSize: maxHead,
		ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		ErrorHandler: s.fiberError,
	})
	s.app.Server().Handler = s.closeInDrain(s.knownMethods(s.app.Server().Handler))
	s.app.Server().HeaderReceived = s.limitBody
	s.app.Use(s.observe)
	s.huma = humafiber.New(s.app, documentation(o.Version))
	s.registerEndpoints()
	s.document()
	return s, s.ui(o.UI)
}

// checkAddresses checks the options for the addresses of the server and its proxies.
func (s *Server) checkAddresses() (err error) {
	if err := CheckPublicURL(s.options.PublicURL, s.options.TLS != nil); err != nil {
		return err
	}
	s.options.PublicURL = strings.TrimSuffix(s.options.PublicURL, "/")
	s.proxies, err = proxyPrefixes(s.options.TrustedProxies)
	return err
}

// CheckPublicURL refuses what cannot be the public URL of a server that speaks HTTPS, or
// of one that speaks HTTP, perhaps behind a proxy. It may be empty.
func CheckPublicURL(publicURL string, secure bool) error {
	if publicURL == "" {
		return nil
	}
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("the public URL is not valid; give one of the form https://host[:port]") // not quoted: it may hold a password
	}
	if secure && u.Scheme != "https" {
		return errors.New("the public URL must begin with https://, because the server speaks HTTPS")
	}
	return nil
}

// CheckTrustedProxies refuses what is neither an address nor a network.
func CheckTrustedProxies(proxies []string) error {
	_, err := proxyPrefixes(proxies)
	return err
}

// registerEndpoints registers the API, concept by concept.
func (s *Server) registerEndpoints() {
	s.mintEndpoints()
	s.redeemEndpoints()
	s.requestEndpoints()
	s.claimEndpoints()
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

// Serve answers requests on a listener until Shutdown. Call it once.
func (s *Server) Serve(l net.Listener) error {
	l = http1.Listen(l, s.options.TLS, http1.Limits{
		Head: maxHead, HeadTime: readTimeout,
		Connections: s.options.Connections, PerGroup: s.options.ConnectionsPerAddress, Group: s.limitedNetwork,
	}, s.log)
	if !s.open(l) {
		return nil // Shutdown came first
	}
	if err := s.app.Listener(l); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// limitedNetwork is the network whose connections are limited: none for a proxy,
// which brings the connections of many callers.
func (s *Server) limitedNetwork(peer netip.Addr) (netip.Prefix, bool) {
	return engine.Origin{IP: peer.String()}.Network(), !s.trusted(peer.Unmap())
}

// open keeps the listener for Shutdown, or closes it if Shutdown came first.
func (s *Server) open(l net.Listener) bool {
	s.serving.Lock()
	defer s.serving.Unlock()
	if s.stopped {
		_ = l.Close() // it never accepted a connection
		return false
	}
	s.listener = l
	return true
}

// Drain makes /readyz and its parts answer 503, so that load balancers send their calls
// to other servers, and ends each connection after its next answer. Everything else is
// served as before, until Shutdown.
func (s *Server) Drain() { s.draining.Store(true) }

// closeInDrain tells the caller to send no further request on the connection (RFC 9112,
// section 9.6). It does so after the call, because the drain may begin meanwhile.
func (s *Server) closeInDrain(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		next(ctx)
		if s.draining.Load() {
			ctx.SetConnectionClose()
		}
	}
}

// Shutdown stops listening, waits for the requests under way until ctx ends, and
// then closes their connections.
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

package api

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/countersign-dev/countersign/engine"
)

// call is one HTTP request as the handlers see it: who calls, from which address,
// and what the path names. Nothing in it refers to buffers that Fiber reuses.
type call struct {
	id       string // request id
	route    string // pattern of the path, for logs: the path itself may hold a token
	base     string // scheme and host under which the caller reaches the server
	prefetch bool
	span     trace.Span
	sender
	engine.Caller
	csrfToken   string // of the caller's session
	certificate engine.Certificate
	request     engine.Request
	approval    engine.Approval
}

// unmatched is the route of a request whose path is none of the server's.
const unmatched = "unmatched"

type callKey struct{}

// callOf finds the call of a request's context.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{span: noop.Span{}}
}

const (
	requestIDHeader = "X-Request-ID"
	maxUserAgent    = 512
)

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)

// begin makes the call of a request. It keeps an id that the caller sends if the
// id is safe to write to a log.
func (s *Server) begin(c *fiber.Ctx) *call {
	k := &call{id: c.Get(requestIDHeader), route: unmatched, base: s.options.PublicURL, prefetch: isPrefetch(c), span: noop.Span{}}
	if !requestIDs.MatchString(k.id) {
		k.id = strings.ToLower(rand.Text())
	}
	k.sender = s.senderOf(c)
	if k.base == "" {
		k.base = k.scheme + "://" + k.host
	}
	k.IP, k.UserAgent = k.ip, userAgent(c)
	c.Locals(callKey{}, k)
	return k
}

func userAgent(c *fiber.Ctx) string {
	agent := strings.Clone(c.Get(fiber.HeaderUserAgent))
	if len(agent) > maxUserAgent {
		agent = agent[:maxUserAgent]
	}
	return strings.ToValidUTF8(agent, "�")
}

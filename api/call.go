package api

import (
	"context"
	"crypto/rand"
	"net/netip"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/engine"
)

// call is one HTTP request as the handlers see it: who calls, from which address,
// and what the path names. Nothing in it refers to buffers that Fiber reuses.
type call struct {
	id       string // request id
	route    string // pattern of the path, for logs: the path itself may hold a token
	base     string // scheme and host under which the caller reaches the server
	prefetch bool
	engine.Caller
	csrfToken   string // of the caller's session
	certificate engine.Certificate
	request     engine.Request
	approval    engine.Approval
}

type callKey struct{}

// callOf finds the call of a request's context.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{}
}

const (
	requestIDHeader = "X-Request-ID"
	maxUserAgent    = 512
)

var (
	requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{8,64}$`)
	hosts      = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)
)

// begin makes the call of a request. It keeps an id that the caller sends if the
// id is safe to write to a log.
func (s *Server) begin(c *fiber.Ctx) *call {
	k := &call{id: c.Get(requestIDHeader), route: "unmatched", base: s.options.PublicURL, prefetch: isPrefetch(c)}
	if !requestIDs.MatchString(k.id) {
		k.id = strings.ToLower(rand.Text())
	}
	if k.base == "" && hosts.MatchString(c.Hostname()) {
		k.base = c.Protocol() + "://" + strings.Clone(c.Hostname())
	}
	k.IP, k.UserAgent = s.clientIP(c), userAgent(c)
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

// clientIP is the peer's address or, behind trusted proxies, the last address in
// X-Forwarded-For that is not a trusted proxy: the caller can write what comes
// before it.
func (s *Server) clientIP(c *fiber.Ctx) string {
	peer, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		return ""
	}
	at := peer.Unmap()
	if len(s.proxies) == 0 {
		return at.String()
	}
	hops := strings.Split(c.Get(fiber.HeaderXForwardedFor), ",")
	for i := len(hops) - 1; i >= 0 && s.trusted(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at.String()
}

func (s *Server) trusted(ip netip.Addr) bool {
	for _, proxy := range s.proxies {
		if proxy.Contains(ip) {
			return true
		}
	}
	return false
}

// proxyPrefixes parses addresses and networks in CIDR form.
func proxyPrefixes(texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			ip, errIP := netip.ParseAddr(text)
			if errIP != nil {
				return nil, engine.Errorf(engine.CodeInvalidRequest, "trusted proxy %q is not an IP address or a network; give one such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

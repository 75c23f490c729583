package api

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/countersign-dev/countersign/engine"
)

// sender says where a request came from and which server it was sent to.
type sender struct {
	ip     string // address of the caller, or "" if it is not known
	scheme string // http or https, as the caller sent the request
	host   string // the Host that the request names, with its port
	local  netip.Addr
}

// senderOf reads the sender from the connection and, as far as these come from
// trusted proxies, from all lines of X-Forwarded-For and X-Forwarded-Proto.
//
// Each proxy appends what it saw, so both are read from the right: the caller can
// write whatever stands before it. X-Forwarded-Host and Forwarded (RFC 7239) are not
// read: public_url says which host callers use, and one header for the address must
// do, because a proxy that sets one lets the other pass from the caller.
func (s *Server) senderOf(c *fiber.Ctx) sender {
	from := sender{scheme: "http", host: string(c.Request().Header.Host())}
	if s.options.TLS != nil {
		from.scheme = "https"
	}
	if !strings.HasPrefix(c.OriginalURL(), "/") { // an absolute target overrules Host (RFC 9112, section 3.2.2)
		from.host = strings.Clone(c.Hostname())
	}
	if local, ok := netip.AddrFromSlice(c.Context().LocalIP()); ok {
		from.local = local.Unmap()
	}
	peer, ok := netip.AddrFromSlice(c.Context().RemoteIP())
	if !ok {
		return from
	}
	at := peer.Unmap()
	if protocols := listOf(c, fiber.HeaderXForwardedProto); s.trusted(at) && len(protocols) > 0 {
		from.scheme = "http"
		if protocols[len(protocols)-1] == "https" {
			from.scheme = "https"
		}
	}
	hops := listOf(c, fiber.HeaderXForwardedFor)
	for i := len(hops) - 1; i >= 0 && s.trusted(at); i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break
		}
		at = hop
	}
	from.ip = at.String()
	return from
}

// listOf returns the elements of all lines of a header, in order (RFC 9110, sections
// 5.3 and 5.6.1).
func listOf(c *fiber.Ctx, header string) (elements []string) {
	for _, line := range c.Request().Header.PeekAll(header) {
		for element := range strings.SplitSeq(string(line), ",") {
			if element = strings.TrimSpace(element); element != "" {
				elements = append(elements, element)
			}
		}
	}
	return elements
}

// parseHop parses an address as proxies write it: with a port, in brackets, with a
// zone, or an IPv4 address in the form of an IPv6 address.
func parseHop(text string) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(text)
	if err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	ip, err := netip.ParseAddr(text)
	return ip.Unmap().WithZone(""), err == nil
}

func (s *Server) trusted(ip netip.Addr) bool {
	for _, proxy := range s.proxies {
		if proxy.Contains(ip) {
			return true
		}
	}
	return false
}

var hosts = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)|\[([0-9A-Fa-f:.]+)\])(?::[0-9]{1,5})?$`)

// hostName is the name in a Host header, in lower case and without brackets or port,
// and whether it is that of a loopback address.
func hostName(host string) (name string, loopback bool, err error) {
	parts := hosts.FindStringSubmatch(host)
	if parts == nil {
		return "", false, engine.Errorf(codeBadRequest, "the header Host is missing or not valid")
	}
	name = strings.ToLower(parts[1] + parts[2])
	ip, _ := netip.ParseAddr(name) // the zero address is not loopback
	return name, name == "localhost" || ip.IsLoopback(), nil
}

var errMisdirected = engine.Errorf(codeMisdirected,
	"this server is not the host that the request names; call it as the setting public_url says or, without that, by its IP address")

// checkHost refuses a request for a host that is not this server: a page of another
// site can make a browser connect here under a name of its own (DNS rebinding), and
// the browser then takes this server for that site. An address is no such name.
func (s *Server) checkHost(from sender) error {
	name, loopback, err := hostName(from.host)
	if err != nil {
		return err
	}
	_, noAddress := netip.ParseAddr(name)
	ours := loopback || noAddress == nil
	if public, _ := url.Parse(s.options.PublicURL); public != nil && public.Host != "" { // checkAddresses parsed it
		ours = strings.EqualFold(name, public.Hostname()) || loopback && from.local.IsLoopback()
	}
	if !ours {
		return errMisdirected
	}
	return nil
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
		if at := prefix.Addr(); at.Is4In6() && prefix.Bits() >= 96 { // addresses are compared as IPv4
			prefix = netip.PrefixFrom(at.Unmap(), prefix.Bits()-96)
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

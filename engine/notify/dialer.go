package notify

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// publicDialer connects to public addresses, and to hosts that are allowed by name.
type publicDialer struct {
	allowed map[string]bool
}

func newPublicDialer(hosts []string) publicDialer {
	d := publicDialer{allowed: map[string]bool{}}
	for _, host := range hosts {
		d.allowed[normalizeHost(host)] = true
	}
	return d
}

// normalizeHost makes hosts comparable: lower case, no brackets, no final dot.
func normalizeHost(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(strings.TrimSpace(host), "[]")), ".")
}

func (d publicDialer) allows(host string) bool { return d.allowed[normalizeHost(host)] }

// DialContext connects as net.Dialer does. It checks the address to which the
// kernel is about to connect, so neither an earlier lookup nor an unusual spelling
// of an address matters. A refusal is temporary: the name may have another address
// next time.
func (d publicDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: Timeout}
	if !d.allows(host) {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !isPublic(at.Addr()) {
				return errNotPublic(engine.CodeUnavailable, host)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// lookupTimeout bounds the lookup of a name when a target is made.
const lookupTimeout = 3 * time.Second

// check refuses a host that is, or has now, an address that is not public. A
// failed lookup is accepted, because DialContext checks the address later.
func (d publicDialer) check(ctx context.Context, host string) error {
	if d.allows(host) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", normalizeHost(host))
	for _, a := range addresses {
		if !isPublic(a) {
			return errNotPublic(engine.CodeInvalidRequest, host)
		}
	}
	return nil
}

func errNotPublic(code engine.Code, host string) error {
	return engine.Errorf(code,
		"%s has an address that is not public; use a public one, or ask the operator to allow the host by name (notifications.allow_hosts)", host)
}

// engineError finds an error of this package's own in err, or returns nil.
func engineError(err error) error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	return nil
}

// nonPublicIPv4 are the ranges that the IANA registry of special-purpose addresses
// lists as not globally reachable, multicast, 240.0.0.0/4, and the address of
// Azure's metadata service.
var nonPublicIPv4 = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
)

// IPv6 addresses are public if they are global unicast and not Teredo, another
// protocol assignment, documentation or 6to4. A NAT64 address is public if the
// IPv4 address in it is.
var (
	globalIPv6    = netip.MustParsePrefix("2000::/3")
	nonPublicIPv6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// isPublic reports whether anybody on the internet can reach the address.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.Is6() && nat64.Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	contains := func(p netip.Prefix) bool { return p.Contains(a) }
	if a.Is4() {
		return !slices.ContainsFunc(nonPublicIPv4, contains)
	}
	return globalIPv6.Contains(a) && !slices.ContainsFunc(nonPublicIPv6, contains)
}

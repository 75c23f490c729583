package notify

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// guard dials public addresses only, or hosts that are allowed by name.
type guard struct {
	allowed map[string]bool
}

func newGuard(hosts []string) guard {
	g := guard{allowed: map[string]bool{}}
	for _, host := range hosts {
		g.allowed[plainHost(host)] = true
	}
	return g
}

// plainHost is a host as it is compared: lower case, no brackets, no final dot.
func plainHost(host string) string {
	return strings.TrimSuffix(strings.ToLower(strings.Trim(strings.TrimSpace(host), "[]")), ".")
}

func (g guard) allows(host string) bool { return g.allowed[plainHost(host)] }

// DialContext connects as net.Dialer does. The rule is applied to the address
// that the kernel is about to connect to: whatever a name meant before, or a
// strange spelling of an address means, nothing else counts. What it refuses may
// be tried again: a name's next answer may be another.
func (g guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: Within}
	if !g.allows(host) {
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil || !public(at.Addr()) {
				return errNotPublic(engine.CodeUnavailable, host)
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, address)
}

// lookupWithin bounds the look at a name when a target is made.
const lookupWithin = 3 * time.Second

// check refuses a host that is, or has now, an address that is not public.
func (g guard) check(ctx context.Context, host string) error {
	if g.allows(host) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWithin)
	defer cancel()
	addresses, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", plainHost(host)) // no answer is no reason: it is dialled later, under guard
	for _, a := range addresses {
		if !public(a) {
			return errNotPublic(engine.CodeInvalidRequest, host)
		}
	}
	return nil
}

func errNotPublic(code engine.Code, host string) error {
	return engine.Errorf(code,
		"%s has an address that is not public; the operator may allow the host by name (notifications.allow_hosts)", host)
}

// refusal finds our own refusal in an error, or nil.
func refusal(err error) error {
	if e, ok := errors.AsType[*engine.Error](err); ok {
		return e
	}
	return nil
}

// special are the ranges of IPv4 that the IANA registry of special-purpose
// addresses lists as not globally reachable, with multicast, 240.0.0.0/4, and
// the address under which Azure keeps its metadata.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
)

// Of IPv6 only what was given out for global unicast is public, without the
// parts that stand for something else: Teredo and other protocol assignments,
// documentation, 6to4. NAT64 is as public as the IPv4 address in it.
var (
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
)

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// public tells whether an address is one that anybody on the internet could reach.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.Is6() && nat64.Contains(a) {
		bytes := a.As16()
		a = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if a.Is4() {
		return !within(a, special)
	}
	return global6.Contains(a) && !within(a, special6)
}

func within(a netip.Addr, ranges []netip.Prefix) bool {
	for _, r := range ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

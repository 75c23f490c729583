package engine

import (
	"net/netip"
	"time"
)

// Origin is where a call came from.
type Origin struct {
	IP        string
	UserAgent string
}

// Network is what an origin is counted under, with everybody else in it: an IPv4
// address, or an IPv6 /64, because one person usually has all of it. Everything that
// is not an address shares the zero network.
func (o Origin) Network() netip.Prefix {
	addr, err := netip.ParseAddr(o.IP)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 64
	if addr = addr.Unmap(); addr.Is4() {
		bits = 32
	}
	prefix, err := addr.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// Caller is an authenticated caller inside a project.
type Caller struct {
	Principal
	Role    Role
	Project Project
	Origin
}

// Entry begins the audit entry of something the caller did.
func (c Caller) Entry(at time.Time, action string) AuditEntry {
	return AuditEntry{
		Ref: NewID("aud"), ProjectID: c.Project.ID, Time: at, Action: action, Outcome: AuditSuccess,
		Actor: c.Actor(), IP: c.IP, UserAgent: c.UserAgent,
	}
}

// isPerson reports whether a person calls, and not the server itself.
func (c Caller) isPerson() bool { return c.User.ID != "" && c.User.ID != System.ID }

// Refusal is the audit entry of something the caller was not allowed to do.
func (c Caller) Refusal(at time.Time, action string, code Code) AuditEntry {
	e := c.Entry(at, action)
	e.Outcome, e.Detail = AuditRefused, map[string]string{"code": string(code)}
	return e
}

// sameAddress compares two textual IP addresses, IPv4-mapped forms included.
func sameAddress(a, b string) bool {
	x, errA := netip.ParseAddr(a)
	y, errB := netip.ParseAddr(b)
	return errA == nil && errB == nil && x.Unmap() == y.Unmap()
}

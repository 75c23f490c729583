package http1

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// The pauses after a failure to accept a connection, which double up to the longest.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

// transient are the failures to accept that end by themselves. ECONNABORTED and
// EPROTO are of one connection; the others last until a resource is free again.
var transient = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPROTO, syscall.EINTR,
}

// Listener accepts connections within Limits, and survives that the system cannot
// give it one.
type Listener struct {
	net.Listener
	tls     *tls.Config
	limits  Limits
	log     *slog.Logger
	mu      sync.Mutex
	open    int
	grouped map[netip.Prefix]int
	warn    rate.Sometimes
}

// Listen makes each connection of l a Conn, which speaks TLS unless its configuration is
// nil. A connection counts within the limits before its handshake.
func Listen(l net.Listener, secure *tls.Config, limits Limits, log *slog.Logger) *Listener {
	return &Listener{
		Listener: l, tls: secure, limits: limits, log: log, grouped: map[netip.Prefix]int{}, warn: rate.Sometimes{First: 1, Interval: time.Minute},
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	pause := shortestPause
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if !isTransient(err) {
				return nil, err
			}
			l.warn.Do(func() { l.log.Warn("connections cannot be accepted; trying again", "error", err) })
			time.Sleep(pause)
			pause = min(2*pause, longestPause)
			continue
		}
		if release, ok := l.admit(c.RemoteAddr()); ok {
			return l.conn(c, release), nil
		}
		l.warn.Do(func() {
			l.log.Warn("a connection was refused: too many are open; see limits.connections and limits.connections_per_address", "peer", c.RemoteAddr().String())
		})
		_ = c.Close() // nothing was sent
	}
}

func (l *Listener) conn(c net.Conn, release func()) *Conn {
	conn := &Conn{Conn: c, limits: l.limits, release: release, in: make([]byte, 4<<10)}
	if l.tls != nil {
		conn.secure = tls.Server(c, l.tls)
		conn.Conn = conn.secure
	}
	return conn
}

func isTransient(err error) bool {
	for _, t := range transient {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// admit takes a place for a connection.
func (l *Listener) admit(peer net.Addr) (release func(), ok bool) {
	var group netip.Prefix
	counted := false
	if at, err := netip.ParseAddrPort(peer.String()); err == nil {
		group, counted = l.limits.Group(at.Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limits.Connections || counted && l.grouped[group] >= l.limits.PerGroup {
		return nil, false
	}
	l.count(group, counted, 1)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.count(group, counted, -1)
	}, true
}

func (l *Listener) count(group netip.Prefix, counted bool, n int) {
	l.open += n
	if !counted {
		return
	}
	if l.grouped[group] += n; l.grouped[group] == 0 {
		delete(l.grouped, group)
	}
}

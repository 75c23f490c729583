// Package http1 checks the framing of HTTP/1.1 requests (RFC 9112) on a connection
// before the HTTP library reads them. The library accepts requests that another
// program on the way, such as a reverse proxy, may delimit in another place; what
// one of them takes for a body, the other then takes for a second request.
//
// Start with [Listen], which also limits connections, and speaks TLS on those that it
// lets in. A [Conn] hands out a request's head only when the head is complete and has one
// meaning, follows the body to its end, and checks the next request in the same way.
// After the first fault nothing more of the connection is read.
package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// ErrFraming is the error of Read in the middle of a body that is not framed as
// RFC 9112, section 7.1, says.
var ErrFraming = errors.New("the request body is not framed as RFC 9112 says")

// badHead stands for a head that is refused: no HTTP library accepts it, so the
// answer is a 400 in its place among the answers to earlier requests.
const badHead = " \r\n\r\n"

// lastChunk ends a chunked body. It is handed out when the trailers have passed,
// because the HTTP library ignores faults in them.
const lastChunk = "0\r\n\r\n"

const (
	// maxChunkLine limits the line of a chunk's size, in bytes, with its extensions,
	// which mean nothing to this server (RFC 9112, section 7.1.1).
	maxChunkLine = 256
	// maxLingering and lingerTime limit what is read and dropped of a request that was
	// refused before its end, in bytes and in time.
	maxLingering = 256 << 10
	lingerTime   = time.Second
)

// Limits bound what callers may take.
type Limits struct {
	// Connections is how many may be open at once. One above it is closed at once.
	Connections int
	// PerGroup is how many may be open at once of those that Group counts together.
	PerGroup int
	// Group says what an address is counted under. Without a group it is not counted.
	Group func(netip.Addr) (group netip.Prefix, ok bool)
	// Head is the size of the largest head, in bytes. A larger one is handed out
	// incomplete, for the HTTP library to refuse: its buffer must not be larger.
	Head int
	// HeadTime is how long a head may take from its first byte to its last, and before
	// that the handshake of TLS from its beginning.
	HeadTime time.Duration
}

// Conn is a connection whose reader gets requests only as far as their framing is
// right. One goroutine may read while others write or close.
type Conn struct {
	net.Conn
	limits Limits
	secure *tls.Conn // until its handshake has been made

	in    []byte // space for what the peer sends
	ready []byte // checked, and not handed out
	line  []byte // a line that is not complete
	end   error  // what Read returns after ready

	part  part   // what comes next
	head  []byte // the lines of a head that is not complete
	facts head   // what those lines say
	left  int64  // bytes until the end of a body or chunk
	extra int    // bytes of trailers
	blank bool   // an empty line came before the request

	unread  atomic.Bool // the peer may be sending what nobody will read
	closed  atomic.Bool
	release func() // gives the connection's place to another one
}

// part is a part of a request.
type part int

const (
	requestLine part = iota
	fields
	content
	chunkSize
	chunkData
	chunkEnd
	trailers
)

// Read implements io.Reader. It returns ErrFraming after a fault in a body. After a
// fault in a head it hands out a head that is not valid, and then io.EOF. The first Read
// makes the handshake of TLS; if that fails, it returns io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	if c.secure != nil {
		c.end, c.secure = c.shake(c.secure), nil
	}
	for len(c.ready) == 0 {
		if c.end != nil {
			return 0, c.end
		}
		waiting := c.betweenRequests()
		n, err := c.Conn.Read(c.in)
		if n > 0 && waiting {
			_ = c.SetReadDeadline(deadline(c.limits.HeadTime)) // it fails after Close only
		}
		c.take(c.in[:n])
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && !c.betweenRequests() && c.end == nil:
			c.fail()
		case len(c.ready) == 0 && c.end == nil:
			return 0, err // a timeout among others: a later call may read on
		}
	}
	n := copy(p, c.ready)
	if c.ready = c.ready[n:]; len(c.ready) == 0 {
		c.ready = nil // a large body must not keep its memory for ever
	}
	return n, nil
}

func (c *Conn) betweenRequests() bool { return c.part == requestLine && len(c.line) == 0 }

// take checks what the peer sent, up to the first fault.
func (c *Conn) take(b []byte) {
	for len(b) > 0 && c.end == nil {
		if c.part == content || c.part == chunkData {
			n := min(c.left, int64(len(b)))
			c.ready = append(c.ready, b[:n]...)
			b = b[n:]
			if c.left -= n; c.left == 0 {
				c.contentEnded()
			}
			continue
		}
		n := bytes.IndexByte(b, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(b)
		}
		c.line = append(c.line, b[:n]...)
		b = b[n:]
		switch {
		case c.tooLong():
		case whole:
			line := c.line
			c.line = c.line[:0]
			if !c.takeLine(line) {
				c.fail()
			}
		}
	}
	c.unread.Store(c.end != nil || c.part > fields)
}

// tooLong ends the connection if what was collected exceeds its limit.
func (c *Conn) tooLong() bool {
	switch c.part {
	case requestLine, fields:
		if len(c.head)+len(c.line) <= c.limits.Head {
			return false
		}
		c.ready, c.end = append(c.ready, append(c.head, c.line...)[:c.limits.Head+1]...), io.EOF
	case trailers:
		if c.extra+len(c.line) <= c.limits.Head {
			return false
		}
		c.fail()
	default:
		if len(c.line) <= maxChunkLine {
			return false
		}
		c.fail()
	}
	return true
}

// fail ends the connection for a fault in what comes next.
func (c *Conn) fail() {
	c.end = ErrFraming
	if c.part <= fields {
		c.ready, c.end = append(c.ready, badHead...), io.EOF
	}
}

// takeLine checks a line, which ends with the only line end in it.
func (c *Conn) takeLine(line []byte) bool {
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.ContainsAny(text, "\r\x00") {
		return false // RFC 9112, section 2.2
	}
	switch c.part {
	case requestLine:
		return c.takeRequestLine(line, text)
	case fields:
		return c.takeField(line, text)
	case chunkSize:
		return c.takeChunkSize(line, text)
	case chunkEnd:
		if len(text) > 0 {
			return false
		}
		c.ready, c.part = append(c.ready, line...), chunkSize
		return true
	default: // trailers
		c.extra += len(line)
		if len(text) > 0 {
			_, _, ok := cutField(text)
			return ok // it is dropped (RFC 9112, section 7.1.2): no trailer means anything here
		}
		c.ready, c.part = append(c.ready, lastChunk...), requestLine
		return true
	}
}

func (c *Conn) takeRequestLine(line, text []byte) bool {
	if len(text) == 0 { // one is dropped (RFC 9112, section 2.2)
		first := !c.blank
		c.blank = true
		return first
	}
	c.blank = false
	c.head, c.facts = append(c.head[:0], line...), head{}
	c.part = fields
	return c.facts.request(text)
}

func (c *Conn) takeField(line, text []byte) bool {
	c.head = append(c.head, line...)
	if len(text) > 0 {
		return c.facts.field(text)
	}
	length, chunked, ok := c.facts.framing()
	if !ok {
		return false
	}
	c.ready = append(c.ready, c.head...)
	c.head = c.head[:0]
	switch {
	case chunked:
		c.part = chunkSize
	case length > 0:
		c.part, c.left = content, length
	default:
		c.part = requestLine
	}
	return true
}

func (c *Conn) takeChunkSize(line, text []byte) bool {
	size, ok := parseChunkSize(text)
	if !ok {
		return false
	}
	if size == 0 {
		c.part, c.extra = trailers, 0
		return true
	}
	c.ready = append(c.ready, line...)
	c.part, c.left = chunkData, size
	return true
}

func (c *Conn) contentEnded() {
	if c.part == chunkData {
		c.part = chunkEnd
		return
	}
	c.part = requestLine
}

// Close closes the connection. If the peer may still be sending a request that was
// refused, Close first waits a little while for the peer to stop: a system that
// closes with unread bytes resets the connection, and the peer may lose the answer
// (RFC 9112, section 9.6).
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	defer c.release()
	if c.unread.Load() {
		linger(c.Conn)
	}
	return c.Conn.Close()
}

// deadline is the moment after a while as the operating system's clock has it, by
// which connections end.
func deadline(after time.Duration) time.Time { return time.Now().Add(after) } //nolint:forbidigo // not a time of the domain

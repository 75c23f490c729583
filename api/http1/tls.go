package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// plainAnswer is the answer to an HTTP request that came without TLS. The text is for a
// person who reads it in a terminal or a browser.
const plainAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" +
	"Client sent an HTTP request to an HTTPS server.\n" +
	"If it contained an API key, a token or a password, others may have read that on the way: revoke it. Use https.\n"

// shake makes the handshake of TLS, which may take as long as a head. It returns io.EOF if
// that fails: the peer has got TLS's own alert, or the answer to plain HTTP.
func (c *Conn) shake(secure *tls.Conn) error {
	_ = c.SetDeadline(deadline(c.limits.HeadTime)) // it fails after Close only
	err := secure.HandshakeContext(context.Background())
	if err == nil {
		_ = c.SetWriteDeadline(time.Time{}) // the HTTP library sets one for each answer
		_ = c.SetReadDeadline(deadline(c.limits.HeadTime))
		return nil
	}
	if first, ok := errors.AsType[tls.RecordHeaderError](err); ok && first.Conn != nil && isMethod(first.RecordHeader[0]) {
		_, _ = io.WriteString(first.Conn, plainAnswer) // the peer may have gone
	}
	// A peer that has sent more than the handshake would lose the answer or the alert.
	linger(secure.NetConn())
	return io.EOF
}

// ClientCertificate is the certificate that the peer has shown, in DER, or nil: it comes from
// an authority that the server trusted at the handshake, the peer has its key (RFC 8446,
// section 4.4.3), and it has not expired since.
func (c *Conn) ClientCertificate() []byte {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	chains := secure.ConnectionState().VerifiedChains
	if len(chains) == 0 || time.Until(chains[0][0].NotAfter) < 0 {
		return nil
	}
	return chains[0][0].Raw
}

// isMethod reports whether a request may begin with this byte. No record of TLS does.
func isMethod(b byte) bool { return 'A' <= b && b <= 'Z' }

// linger says that nothing more is sent, and then waits a little while for the peer to
// stop sending.
func linger(c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if ok && half.CloseWrite() == nil && c.SetReadDeadline(deadline(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c, maxLingering) // the peer's failure is the end as well
	}
}

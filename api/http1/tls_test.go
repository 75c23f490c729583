package http1

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// forTLS is a certificate for 127.0.0.1, and a client's configuration that trusts it.
func forTLS(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	return s.TLS, s.Client().Transport.(*http.Transport).TLSClientConfig
}

// within limits the time of a connection, so that a server that does not answer fails the
// test.
func within(t *testing.T, c net.Conn, err error) net.Conn {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

// accepted is a connection as a server has it, and what its peer sees.
func accepted(t *testing.T, limits Limits) (server *Conn, peer net.Conn) {
	t.Helper()
	secure, _ := forTLS(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	limits.Connections, limits.PerGroup, limits.Group, limits.Head = 10, 10, noAddress, 1<<10
	listener := Listen(l, secure, limits, nil)
	dialled, err := net.Dial("tcp", l.Addr().String())
	peer = within(t, dialled, err)
	c, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*Conn), peer
}

// A peer that begins a handshake and does not go on, or is silent, is not waited for.
func TestAHandshakeHasATime(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "a part of a record": "\x16\x03\x01\x02\x00\x01", "a part of a record's head": "\x16\x03"} {
		t.Run(name, func(t *testing.T) {
			c, peer := accepted(t, Limits{HeadTime: 50 * time.Millisecond})
			if _, err := io.WriteString(peer, sent); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 100))
				read <- err
			}()
			if text, err := io.ReadAll(peer); err != nil || len(text) > 7 { // at most an alert
				t.Errorf("%q %v", text, err)
			}
			_ = peer.Close()
			if err := <-read; !errors.Is(err, io.EOF) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Plain HTTP is answered once, whatever follows it.
func TestPlainHTTPIsRefused(t *testing.T) {
	for name, sent := range map[string]string{
		"GET": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "absolute": "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "a body": "POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100000),
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := accepted(t, Limits{HeadTime: time.Minute})
			go func() {
				_, _ = io.WriteString(peer, sent) // the server may close it
				_ = peer.(*net.TCPConn).CloseWrite()
			}()
			n, err := c.Read(make([]byte, 100))
			if n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("the HTTP library gets %d bytes, %v", n, err)
			}
			_ = c.Close()
			if text, err := io.ReadAll(peer); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 400 ") || !bytes.Contains(text, []byte("HTTPS server")) {
				t.Errorf("%q %v", text, err)
			}
		})
	}
}

// Connections count within the limits before their handshake.
func TestConnectionsAreLimitedBeforeTheHandshake(t *testing.T) {
	secure, client := forTLS(t)
	l, err := serveTLS(secure, Limits{Connections: 100, PerGroup: 2, Group: everyAddress, HeadTime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var silent []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		silent = append(silent, within(t, c, err))
	}
	third, err := net.Dial("tcp", l.Addr().String())
	if n, err := within(t, third, err).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("a third connection is not closed")
	}
	_ = silent[0].Close()
	for served := false; !served; { // until the server has seen that it closed
		c, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			continue
		}
		within(t, c, nil)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		line, err := io.ReadAll(io.LimitReader(c, 7))
		served = err == nil && string(line) == "served\n"
		_ = c.Close()
	}
}

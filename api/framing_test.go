package api_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/api/wire"
)

// dial opens a connection to the server, by TLS if it speaks that.
func (f *fixture) dial() interface {
	net.Conn
	CloseWrite() error
} {
	f.t.Helper()
	if address, secure := strings.CutPrefix(f.url, "https://"); secure {
		conn, err := tls.Dial("tcp", address, f.transport.(*http.Transport).TLSClientConfig)
		must(f.t, err)
		return conn
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	must(f.t, err)
	return conn.(*net.TCPConn)
}

// answers sends text as one packet or, slowly, one byte in each, and reads every
// answer until the server closes the connection.
func (f *fixture) answers(text string, slowly bool) (all []answer) {
	f.t.Helper()
	conn := f.dial()
	defer func() { _ = conn.Close() }() // read below
	must(f.t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	go func() {
		step := len(text)
		if slowly {
			step = 1
		}
		for rest := text; rest != ""; rest = rest[step:] {
			if _, err := io.WriteString(conn, rest[:step]); err != nil {
				return // the server has refused it
			}
		}
		_ = conn.CloseWrite() // the server may have closed it
	}()
	in := bufio.NewReader(conn)
	for {
		got, err := http.ReadResponse(in, nil)
		if err != nil {
			return all // the connection was closed, or reset
		}
		if got.Close {
			got.Header.Set("Connection", "close") // ReadResponse removes it
		}
		body, err := io.ReadAll(got.Body)
		must(f.t, err)
		all = append(all, answer{f.t, got.StatusCode, got.Header, body})
	}
}

const (
	smuggled = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Second: yes\r\n\r\n"
	valid    = "GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
	redeem   = "POST /api/v1/downloads HTTP/1.1\r\nHost: 127.0.0.1\r\n"
)

// ambiguous are requests that two programs may delimit differently.
var ambiguous = map[string]string{
	"white space before the colon":     redeem + "Content-Length : 60\r\n\r\n",
	"tab before the colon":             redeem + "Content-Length\t: 60\r\n\r\n",
	"coding and length":                redeem + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"length and coding":                redeem + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
	"coding twice":                     redeem + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"codings in one line":              redeem + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
	"unknown coding":                   redeem + "Transfer-Encoding: xchunked\r\n\r\n",
	"identity":                         redeem + "Transfer-Encoding: identity\r\n\r\n",
	"empty coding":                     redeem + "Transfer-Encoding:\r\n\r\n",
	"coding in HTTP/1.0":               "POST /api/v1/downloads HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"length twice":                     redeem + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
	"differing lengths":                redeem + "Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
	"lengths in one line":              redeem + "Content-Length: 0, 0\r\n\r\n",
	"signed length":                    redeem + "Content-Length: +0\r\n\r\n",
	"negative length":                  redeem + "Content-Length: -1\r\n\r\n",
	"length in hexadecimal":            redeem + "Content-Length: 0x0\r\n\r\n",
	"empty length":                     redeem + "Content-Length:\r\n\r\n",
	"length above 63 bits":             redeem + "Content-Length: 18446744073709551616\r\n\r\n",
	"two hosts":                        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
	"no host":                          "GET /healthz HTTP/1.1\r\n\r\n",
	"folded line":                      "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\r\n c\r\n\r\n",
	"folded length":                    redeem + "Content-Length:\r\n 0\r\n\r\n",
	"white space before the first":     "GET /healthz HTTP/1.1\r\n X-A: b\r\nHost: 127.0.0.1\r\n\r\n",
	"line without a colon":             "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A\r\n\r\n",
	"line without a name":              "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n: b\r\n\r\n",
	"bare LF after the request line":   "GET /healthz HTTP/1.1\nHost: 127.0.0.1\r\n\r\n",
	"bare LF after a field":            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\nX-A: b\r\n\r\n",
	"bare LF at the end":               "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\n",
	"bare CR in the request line":      "GET /healthz\rX HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"bare CR in a field":               "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: b\rX-B: c\r\n\r\n",
	"two CR":                           "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\r\n\r\n",
	"NUL in a field":                   "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: \x00\r\n\r\n",
	"two spaces":                       "GET  /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"space in the target":              "GET /healthz x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
	"no version":                       "GET /healthz\r\nHost: 127.0.0.1\r\n\r\n",
	"HTTP/2":                           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"chunk size in C's hexadecimal":    redeem + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
	"chunk size with a sign":           redeem + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
	"chunk size with space":            redeem + "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
	"chunk size with space before":     redeem + "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
	"two empty lines before it":        "\r\n\r\n" + redeem + "Content-Length: 0\r\n\r\n",
	"no chunk size":                    redeem + "Transfer-Encoding: chunked\r\n\r\n;a=b\r\n\r\n",
	"chunk size that is not a number":  redeem + "Transfer-Encoding: chunked\r\n\r\n0g\r\n\r\n",
	"chunk size above 63 bits":         redeem + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
	"chunk longer than its size":       redeem + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n0\r\n\r\n",
	"chunk size ended by bare LF":      redeem + "Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
	"chunk ended by bare LF":           redeem + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
	"bare CR in an extension":          redeem + "Transfer-Encoding: chunked\r\n\r\n0;a\rb\r\n\r\n",
	"extension of more than 256 bytes": redeem + "Transfer-Encoding: chunked\r\n\r\n0;" + strings.Repeat("a", 256) + "\r\n\r\n",
	"trailer that is no field":         redeem + "Transfer-Encoding: chunked\r\n\r\n0\r\n0\r\n\r\n",
	"folded trailer":                   redeem + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n c\r\n\r\n",
	"trailer ended by bare LF":         redeem + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\n\r\n",
	"endless trailers":                 redeem + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-A: 0123456789\r\n", 1000) + "\r\n",
}

// A request that two programs may delimit differently is answered once, with 400,
// and nothing after it is answered (RFC 9112): also when it follows a valid request,
// and when it arrives byte by byte.
func TestAmbiguousFraming(t *testing.T) {
	t.Run("HTTP", func(t *testing.T) { newFixture(t).refusesAmbiguousFraming(false, true) })
	// A record of TLS for each byte takes minutes, and what reads requests gets the same.
	t.Run("HTTPS", func(t *testing.T) { newTLSFixture(t).refusesAmbiguousFraming(false) })
}

func (f *fixture) refusesAmbiguousFraming(manners ...bool) {
	t := f.t
	for name, request := range ambiguous {
		for _, slowly := range manners {
			for before, text := range []string{request + smuggled, valid + request + smuggled} {
				got := f.answers(text, slowly)
				if len(got) != before+1 {
					t.Errorf("%s (slowly %v): %d answers after %d valid requests", name, slowly, len(got), before)
					continue
				}
				last := got[before]
				if last.status != 400 || last.header.Get("Connection") != "close" || last.header.Get("Content-Type") != wire.ProblemMediaType {
					t.Errorf("%s (slowly %v): %d %v", name, slowly, last.status, last.header)
				}
			}
		}
	}
}

// What RFC 9112 allows is still answered, request after request on one connection.
func TestUnusualFraming(t *testing.T) {
	t.Run("HTTP", func(t *testing.T) { newFixture(t).takesUnusualFraming() })
	t.Run("HTTPS", func(t *testing.T) { newTLSFixture(t).takesUnusualFraming() })
}

func (f *fixture) takesUnusualFraming() {
	t := f.t
	const last = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	token := `{"token":"` + unknownToken(1) + `"}`
	hex := "37" // the length of token
	if len(token) != 0x37 {
		t.Fatalf("the token's body has %x bytes", len(token))
	}
	for name, request := range map[string]string{
		"empty line before it": "\r\n" + redeem + "Content-Length: 55\r\n\r\n" + token,
		"space around a value": redeem + "Content-Length:\t 55 \r\n\r\n" + token,
		"no space":             redeem + "content-length:55\r\n\r\n" + token,
		"chunked":              redeem + "Transfer-Encoding: Chunked\r\n\r\n" + hex + "\r\n" + token + "\r\n0\r\n\r\n",
		"many chunks":          redeem + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0000036\r\n" + token[1:] + "\r\n00\r\n\r\n",
		"extensions":           redeem + "Transfer-Encoding: chunked\r\n\r\n" + hex + ";a=b\r\n" + token + "\r\n0;c=\"d;e\"\r\n\r\n",
		"trailers":             redeem + "Transfer-Encoding: chunked\r\n\r\n" + hex + "\r\n" + token + "\r\n0\r\nX-Checksum: 1\r\nContent-Length: 9\r\n\r\n",
	} {
		for _, slowly := range []bool{false, true} {
			got := f.answers(request+request+last, slowly)
			if len(got) != 3 || got[0].status != 404 || got[1].status != 404 || got[2].status != 200 {
				t.Errorf("%s (slowly %v): %d answers: %v", name, slowly, len(got), got)
			}
		}
	}
	if got := f.answers("GET /healthz HTTP/1.0\r\n\r\n", false); len(got) != 1 || got[0].status != 200 {
		t.Errorf("HTTP/1.0 without a host: %v", got)
	}
}

// A field that comes after the body says nothing about who sends it.
func TestTrailersAreDropped(t *testing.T) {
	f := newFixture(t)
	got := f.answers("POST /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"+
		"0\r\nX-Request-ID: trailer-0123456789\r\nSec-Fetch-Site: cross-site\r\n\r\n", false)
	if len(got) != 1 || got[0].status == 403 || got[0].header.Get("X-Request-ID") == "trailer-0123456789" {
		t.Fatalf("%+v", got)
	}
}

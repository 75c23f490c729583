package http1

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// handedOut is what a connection hands out of what the peer sends, in pieces of at
// most step bytes.
func handedOut(t *testing.T, sent string, step int) string {
	t.Helper()
	peer, server := net.Pipe()
	go func() {
		for rest := sent; rest != ""; rest = rest[min(step, len(rest)):] {
			if _, err := io.WriteString(peer, rest[:min(step, len(rest))]); err != nil {
				break // the connection was closed after a fault
			}
		}
		_ = peer.Close()
	}()
	c := &Conn{Conn: server, limits: Limits{Head: 1 << 10, HeadTime: time.Minute}, release: func() {}, in: make([]byte, 512)}
	text, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, ErrFraming) {
		t.Fatal(err)
	}
	if closed := c.Close(); closed != nil {
		t.Fatal(closed)
	}
	if err != nil {
		return string(text) + "!"
	}
	return string(text)
}

func TestHandedOut(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\n"
	for sent, want := range map[string]string{
		"":                                       "",
		"\r\n" + head + "\r\n":                   head + "\r\n",
		"\r\n\r\n" + head + "\r\n":               badHead,
		head:                                     badHead, // incomplete
		head + "Content-Length : 5\r\n\r\nhello": badHead,
		head + "Content-Length: 5\r\n\r\nhello":  head + "Content-Length: 5\r\n\r\nhello",
		head + "Content-Length: 5\r\n\r\nhel":    head + "Content-Length: 5\r\n\r\nhel!",
		head + "\r\n" + head + "X : y\r\n\r\n":   head + "\r\n" + badHead,
		head + "Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0;b\r\nX: y\r\n\r\n": head + "Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n":            head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!",
		head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n":                  head + "Transfer-Encoding: chunked\r\n\r\n!",
	} {
		for _, step := range []int{1, 2, 7, len(sent) + 1} {
			if got := handedOut(t, sent, step); got != want {
				t.Errorf("%q in pieces of %d bytes: %q, want %q", sent, step, got, want)
			}
		}
	}
	long := "GET / HTTP/1.1\r\nX-A: " + strings.Repeat("x", 2<<10) + "\r\n\r\n"
	if got := handedOut(t, long, 100); len(got) <= 1<<10 || len(got) > 2<<10 || strings.Contains(got, "\r\n\r\n") {
		t.Errorf("%d bytes of a head that is too large", len(got))
	}
}

// How the bytes are cut into packets changes nothing.
func FuzzPieces(f *testing.F) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\n"
	for _, seed := range []string{
		head + "\r\n" + head + "\r\n", head + "Content-Length: 3\r\n\r\nabc" + head + "\r\n",
		head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + head + "\r\n", "\r\n\n\r", head + " x\r\n\r\n",
	} {
		f.Add(seed, byte(3))
	}
	f.Fuzz(func(t *testing.T, sent string, step byte) {
		whole, pieces := handedOut(t, sent, len(sent)+1), handedOut(t, sent, int(step)+1)
		if whole != pieces {
			t.Fatalf("%q at once, %q in pieces of %d bytes", whole, pieces, step)
		}
	})
}

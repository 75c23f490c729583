package notify

import (
	"bufio"
	"errors"
	"io"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// post is what one session left with a mail server.
type post struct {
	auth string
	from string
	to   []string
	data string
}

// mailServer answers one session by the rules of RFC 5321, except that it
// answers what refuse says to some commands.
func mailServer(t *testing.T, refuse map[string]string) (address string, got <-chan post) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	posts := make(chan post, 1)
	go func() {
		defer close(posts)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		posts <- session(textproto.NewConn(conn), refuse)
	}()
	return listener.Addr().String(), posts
}

func session(c *textproto.Conn, refuse map[string]string) (p post) {
	_ = c.PrintfLine("220 ready")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return p
		}
		answer := "250 ok"
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); {
		case refuse[line] != "":
			answer = refuse[line]
		case verb == "AUTH":
			p.auth = line
		case verb == "MAIL":
			p.from = line
		case verb == "RCPT":
			p.to = append(p.to, strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">"))
		case verb == "DATA":
			_ = c.PrintfLine("354 go ahead")
			data, err := c.ReadDotBytes()
			if err != nil {
				return post{}
			}
			p.data = string(data)
		case verb == "QUIT":
			_ = c.PrintfLine("221 bye")
			return p
		}
		_ = c.PrintfLine("%s", answer)
	}
}

func TestMail(t *testing.T) {
	at, got := mailServer(t, nil)
	n := sample()
	n.CertificateName = "www\r\nBcc: eve@example.org\r\n\r\nünïcode"
	to := engine.Destination{URL: engine.Secret("smtp://" + at + "/?fromaddress=countersign@example.org&fromname=Countersign"), Recipient: "Bob <bob@example.org>"}
	if err := sender("127.0.0.1").Send(t.Context(), to, n); err != nil {
		t.Fatal(err)
	}
	p := <-got
	if len(p.to) != 1 || p.to[0] != "bob@example.org" || !strings.Contains(p.from, "<countersign@example.org>") {
		t.Errorf("%+v", p)
	}
	m, err := mail.ReadMessage(bufio.NewReader(strings.NewReader(p.data)))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"From": `"Countersign" <countersign@example.org>`, "To": "<bob@example.org>", "Bcc": "", "Message-Id": "<ntf_1@example.org>",
		"Auto-Submitted": "auto-generated", "Date": "Tue, 03 Feb 2026 04:05:06 +0000",
	} {
		if m.Header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, m.Header.Get(name), want)
		}
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), "Approval asked for: pkcs12 of www Bcc: eve@example.org ünïcode\n") ||
		!strings.Contains(string(body), "Requester: alice\n") || !strings.Contains(string(body), "Id: ntf_1\n") {
		t.Errorf("%s: %v", body, err)
	}
}

func TestMailToManyPassesOverWhoIsRefusedForGood(t *testing.T) {
	const gone, full = "RCPT TO:<gone@example.org>", "RCPT TO:<full@example.org>"
	for name, c := range map[string]struct {
		to     string
		refuse map[string]string
		want   engine.Code
		got    string
	}{
		"one of two is gone":    {"gone@example.org,bob@example.org", map[string]string{gone: "550 no such user"}, "", "bob@example.org"},
		"all are gone":          {"gone@example.org", map[string]string{gone: "550 no such user"}, engine.CodeInvalidRequest, ""},
		"one of two comes late": {"full@example.org,bob@example.org", map[string]string{full: "452 try later"}, engine.CodeUnavailable, ""},
		"the server is busy":    {"bob@example.org", map[string]string{"DATA": "451 try later"}, engine.CodeUnavailable, "bob@example.org"},
	} {
		at, got := mailServer(t, c.refuse)
		to := engine.Destination{URL: engine.Secret("smtp://" + at + "/?fromaddress=a@example.org&toaddresses=" + c.to)}
		if err := sender("127.0.0.1").Send(t.Context(), to, sample()); engine.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if p := <-got; strings.Join(p.to, ",") != c.got || (p.data != "") != (c.want == "") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestPasswordsNeedTLS(t *testing.T) {
	for query, want := range map[string]string{
		"":                     "user and password go over TLS only",
		"&auth=crammd5":        "user and password go over TLS only",
		"&auth=oauth2":         "user and password go over TLS only",
		"&requirestarttls=yes": "127.0.0.1 offers no TLS",
	} {
		at, got := mailServer(t, nil)
		to := engine.Destination{URL: engine.Secret("smtp://user:pass@" + at + "/?fromaddress=a@example.org&toaddresses=b@example.org" + query)}
		err := sender("127.0.0.1").Send(t.Context(), to, sample())
		if !errors.Is(err, engine.CodeUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", query, err)
		}
		if p := <-got; p.auth != "" || p.from != "" {
			t.Errorf("%q: %+v", query, p)
		}
	}
}

func TestServersThatTalkWithoutEnd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	said := make(chan int)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		n, line := 0, []byte(strings.Repeat("2", 1<<16)) // one line, never ended
		for err == nil {
			_, err = conn.Write(line)
			n += len(line)
		}
		said <- n
	}()
	to := engine.Destination{URL: engine.Secret("smtp://" + listener.Addr().String() + "/?fromaddress=a@example.org&toaddresses=b@example.org")}
	if err := sender("127.0.0.1").Send(t.Context(), to, sample()); !errors.Is(err, engine.CodeUnavailable) {
		t.Errorf("%v", err)
	}
	if n := <-said; n > 100*maxSession {
		t.Errorf("read on for %d bytes", n)
	}
}

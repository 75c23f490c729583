package notify

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
)

// session is what a mail server got in one session.
type session struct {
	auth string
	from string
	to   []string
	data string
}

// server describes a mail server. It answers the commands that refuse lists with
// the reply given there.
type server struct {
	refuse      map[string]string
	tls         *tls.Config // nil for a server without TLS
	implicitTLS bool
}

// start answers one session as RFC 5321 requires.
func (s server) start(t *testing.T) (address string, got <-chan session) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	sessions := make(chan session, 1)
	go func() {
		defer close(sessions)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		if s.implicitTLS {
			conn = tls.Server(conn, s.tls)
		}
		sessions <- s.serve(conn)
	}()
	return listener.Addr().String(), sessions
}

func (s server) serve(conn net.Conn) (got session) {
	c := textproto.NewConn(conn)
	_ = c.PrintfLine("220 ready")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return got
		}
		answer := "250 ok"
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); {
		case s.refuse[line] != "":
			answer = s.refuse[line]
		case verb == "EHLO" && s.tls != nil:
			answer = "250-here\r\n250-AUTH PLAIN\r\n250 STARTTLS"
		case verb == "STARTTLS" && s.tls != nil:
			_ = c.PrintfLine("220 go ahead")
			c = textproto.NewConn(tls.Server(conn, s.tls))
			continue
		case verb == "AUTH":
			got.auth, answer = line, "235 welcome"
		case verb == "MAIL":
			got.from = line
		case verb == "RCPT":
			got.to = append(got.to, strings.TrimSuffix(strings.TrimPrefix(line, "RCPT TO:<"), ">"))
		case verb == "DATA":
			_ = c.PrintfLine("354 go ahead")
			data, err := c.ReadDotBytes()
			if err != nil {
				return session{}
			}
			got.data = string(data)
		case verb == "QUIT":
			_ = c.PrintfLine("221 bye")
			return got
		}
		_ = c.PrintfLine("%s", answer)
	}
}

func TestMail(t *testing.T) {
	at, got := server{}.start(t)
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
	if err != nil || !strings.Contains(string(body), "Approval requested: pkcs12 of www Bcc: eve@example.org ünïcode\n") ||
		!strings.Contains(string(body), "Requester: alice\n") || !strings.Contains(string(body), "Id: ntf_1\n") {
		t.Errorf("%s: %v", body, err)
	}
}

func TestMailSkipsRecipientsThatAreRefusedPermanently(t *testing.T) {
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
		at, got := server{refuse: c.refuse}.start(t)
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
		"":                     "user and password are sent over TLS only",
		"&auth=crammd5":        "user and password are sent over TLS only",
		"&auth=oauth2":         "user and password are sent over TLS only",
		"&requirestarttls=yes": "127.0.0.1 offers no TLS",
	} {
		at, got := server{}.start(t)
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

func TestPasswordsGoToVerifiedServersOnly(t *testing.T) {
	web := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	t.Cleanup(web.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(web.Certificate())
	for query, implicit := range map[string]bool{"": false, "&encryption=explicittls": false, "&encryption=implicittls": true} {
		for _, roots := range []*x509.CertPool{trusted, nil} {
			at, got := server{tls: &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}, implicitTLS: implicit}.start(t)
			s := sender("127.0.0.1")
			s.roots = roots
			to := engine.Destination{URL: engine.Secret("smtp://user:pass@" + at + "/?fromaddress=a@example.org&toaddresses=b@example.org" + query)}
			err := s.Send(t.Context(), to, sample())
			p := <-got
			if roots == nil && (!errors.Is(err, engine.CodeUnavailable) || p.auth != "" || p.from != "") {
				t.Errorf("%q, unknown certificate: %v, %+v", query, err, p)
			}
			if roots != nil && (err != nil || p.auth != "AUTH PLAIN AHVzZXIAcGFzcw==" || p.data == "") {
				t.Errorf("%q: %v, %+v", query, err, p)
			}
		}
	}
}

func TestServersThatNeverStopSending(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	written := make(chan int)
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
		written <- n
	}()
	to := engine.Destination{URL: engine.Secret("smtp://" + listener.Addr().String() + "/?fromaddress=a@example.org&toaddresses=b@example.org")}
	if err := sender("127.0.0.1").Send(t.Context(), to, sample()); !errors.Is(err, engine.CodeUnavailable) {
		t.Errorf("%v", err)
	}
	if n := <-written; n > 100*maxSession {
		t.Errorf("read on for %d bytes", n)
	}
}

package forward

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/countersign-dev/countersign/engine"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 123_000_000, time.UTC)

// entries are of two chains; one entry was made by a hostile caller.
var entries = []engine.AuditEntry{
	{
		Ref: "a", ProjectID: "proj_a", Seq: 7, Time: noon, Action: "cert.downloaded", Outcome: engine.AuditSuccess,
		Actor: engine.Actor{Type: "user", ID: "user_1", Name: "olga", Person: "user_1"}, IP: "192.0.2.1", UserAgent: "curl/8",
		CertificateID: "cert_1", RequestID: "req_1", Format: "key.pem", Detail: map[string]string{"sha256": "ab", "size": "3"}, PrevHash: "00", Hash: "11",
	},
	{
		Ref: "b", ProjectID: "system", Seq: 1, Time: noon.Add(time.Second), Action: "login.failed", Outcome: engine.AuditRefused,
		Actor: engine.Actor{Name: "a|b=c\\d\nCEF:0|x"}, IP: "2001:db8::1", UserAgent: "x\r\n<110>1 - - - - - - forged", Hash: "22",
	},
}

// secured is a certificate, and what trusts it.
func secured(t *testing.T) (server *tls.Config, client TLS) {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return &tls.Config{Certificates: s.TLS.Certificates}, func() (*tls.Config, error) { return &tls.Config{RootCAs: pool}, nil }
}

func named(t *testing.T, name string) Encoding {
	t.Helper()
	e, err := NewEncoding(name, "1.2|3")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// byteByByte reads no more than TLS needs, so that the rest stays unread.
type byteByByte struct{ net.Conn }

func (c byteByByte) Read(p []byte) (int, error) { return c.Conn.Read(p[:min(1, len(p))]) }

// receive runs a receiver of one connection, and sends entries to it within a time.
func receive(t *testing.T, within time.Duration, acceptClose bool, receiver func(raw net.Conn, conn *tls.Conn)) error {
	t.Helper()
	server, client := secured(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		raw, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		receiver(raw, tls.Server(byteByByte{raw}, server))
		_ = raw.Close()
	}()
	s := &Syslog{Address: l.Addr().String(), Host: "near host", AcceptClose: acceptClose, TLS: client, Encode: named(t, "json")}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	err = s.Receive(ctx, entries)
	_ = l.Close()
	<-ended
	return err
}

// Another implementation reads each message, and what an entry has cannot begin another.
func TestSyslogMessagesAreRead(t *testing.T) {
	var got []engine.AuditEntry
	err := receive(t, time.Minute, false, func(_ net.Conn, conn *tls.Conn) {
		octetcounting.NewParser(syslog.WithListener(func(r *syslog.Result) {
			if r.Error != nil {
				t.Error(r.Error)
				return
			}
			m := r.Message.(*rfc5424.SyslogMessage)
			var e engine.AuditEntry
			if err := json.Unmarshal([]byte(*m.Message), &e); err != nil {
				t.Error(err)
			}
			if *m.Facility != 13 || *m.Hostname != "nearhost" || *m.Appname != "countersign" || *m.MsgID != e.Action || !m.Timestamp.Equal(e.Time) {
				t.Errorf("the header of %s is %+v", *m.Message, m)
			}
			if severe := *m.Severity == 4; severe != (e.Outcome == engine.AuditRefused) {
				t.Errorf("the severity of %s is %d", e.Action, *m.Severity)
			}
			got = append(got, e)
		})).Parse(conn)
		_ = conn.Close()
	})
	if err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("received %+v, error %v", got, err)
	}
}

// A batch is acknowledged if the receiver has read all of it, and not otherwise.
func TestSyslogIsAcknowledgedOnlyWhenItWasRead(t *testing.T) {
	for name, c := range map[string]struct {
		receiver func(raw net.Conn, conn *tls.Conn)
		taken    bool
		accepted bool // taken with AcceptClose
	}{
		"it answers close_notify": {func(_ net.Conn, conn *tls.Conn) {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}, true, true},
		"it waits for the end after close_notify": {func(raw net.Conn, conn *tls.Conn) {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.CloseWrite()
			_, _ = io.Copy(io.Discard, raw)
		}, true, true},
		"it only closes the connection": {func(_ net.Conn, conn *tls.Conn) { _, _ = io.Copy(io.Discard, conn) }, false, true},
		"it reads a part": {func(_ net.Conn, conn *tls.Conn) {
			_ = conn.Handshake()
		}, false, false},
		"it ends before it reads": {func(raw net.Conn, conn *tls.Conn) {
			_ = conn.Handshake()
			_ = raw.Close()
		}, false, false},
		"it says close_notify too early": {func(_ net.Conn, conn *tls.Conn) {
			_ = conn.Handshake()
			_ = conn.Close()
		}, false, false},
		"it answers garbage": {func(raw net.Conn, _ *tls.Conn) {
			_, _ = io.WriteString(raw, strings.Repeat("garbage\r\n", 100))
			_, _ = io.CopyN(io.Discard, raw, 1)
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				if err := receive(t, time.Minute, false, c.receiver); (err == nil) != c.taken {
					t.Fatalf("the error is %v", err)
				}
				if err := receive(t, time.Minute, true, c.receiver); (err == nil) != c.accepted {
					t.Fatalf("with AcceptClose, the error is %v", err)
				}
			}
		})
	}
}

// A receiver that reads nothing is given up.
func TestSyslogGivesAReceiverUp(t *testing.T) {
	err := receive(t, 100*time.Millisecond, true, func(raw net.Conn, conn *tls.Conn) {
		_ = conn.Handshake()
		_, _ = io.Copy(io.Discard, raw) // until the sender closes; TLS gets nothing of it
	})
	if err == nil {
		t.Error("what nobody read is acknowledged")
	}
}

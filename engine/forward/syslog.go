package forward

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// Syslog sends entries as syslog messages (RFC 5424) over TLS (RFC 5425). Syslog itself
// acknowledges nothing. Therefore each batch has a connection of its own, and counts as
// acknowledged when the receiver has read it to its end: it must then answer close_notify
// with close_notify (RFC 5425, section 4.4). Some receivers, rsyslog among them, only close
// the connection. AcceptClose takes that for an acknowledgement, too, if on Linux the other
// side's system has received everything; but whoever stands between can then drop entries.
// What a receiver has read and does not keep, because it is killed at that moment, is lost;
// only [HTTPS] acknowledges what is kept. All other fields must be set.
type Syslog struct {
	Address     string // host and port
	Host        string // of this server, in the messages
	AcceptClose bool
	TLS         TLS
	Encode      Encoding
}

// Receive implements [engine.AuditReceiver].
func (s *Syslog) Receive(ctx context.Context, entries []engine.AuditEntry) error {
	var text bytes.Buffer
	for _, e := range entries {
		m, err := s.message(e)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%d %s", len(m), m) // octet counting, RFC 5425, section 4.3
	}
	config, err := s.TLS()
	if err != nil {
		return err
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	defer func() { _ = raw.Close() }() // what matters was acknowledged
	if deadline, limited := ctx.Deadline(); limited {
		if err := raw.SetDeadline(deadline); err != nil {
			return err
		}
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	config = config.Clone()
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(s.Address); err != nil {
			return err
		}
	}
	conn := tls.Client(untilNotified{raw}, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	if _, err := conn.Write(text.Bytes()); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	switch read, err := io.Copy(io.Discard, io.LimitReader(conn, maxAnswer)); {
	case read == maxAnswer:
		return errors.New("the receiver sends something, which syslog receivers do not")
	case err != nil && (!s.AcceptClose || !errors.Is(err, errNoNotify)):
		return err
	}
	return readWhole(ctx, raw)
}

// String implements [engine.AuditReceiver].
func (s *Syslog) String() string { return "syslog at " + s.Address }

var errNoNotify = errors.New("the receiver ended the connection without close_notify; if it always does, as rsyslog does, see audit.syslog.accept_close")

// untilNotified turns the end of a TCP connection into an error. TLS would take it for
// close_notify, also if the receiver was killed before it had read everything.
type untilNotified struct{ net.Conn }

func (c untilNotified) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = errNoNotify
	}
	return n, err
}

const (
	// facilityAudit is "log audit", RFC 5424, section 6.2.1.
	facilityAudit                 = 13
	severityWarning, severityInfo = 4, 6
	maxHostname, maxMessageID     = 255, 32
	timestampMicro                = "2006-01-02T15:04:05.999999Z07:00" // at most 6 digits, RFC 5424, section 6.2.3
	maxAnswer                     = 64 << 10
)

// message is an entry as a message without structured data: all that it has is in the
// entry's encoding, with its hash.
func (s *Syslog) message(e engine.AuditEntry) ([]byte, error) {
	line, err := s.Encode(e)
	if err != nil {
		return nil, err
	}
	severity := severityInfo
	if e.Outcome != engine.AuditSuccess {
		severity = severityWarning
	}
	head := "<" + strconv.Itoa(facilityAudit*8+severity) + ">1 " + e.Time.UTC().Format(timestampMicro) + " " +
		printable(s.Host, maxHostname) + " countersign - " + printable(e.Action, maxMessageID) + " - "
	return append([]byte(head), line...), nil
}

// printable is a text as a header may have it: characters from 33 to 126, or "-" for none.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < 33 || r > 126 {
			return -1
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text[:min(len(text), most)]
}

package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	shoutrrr "github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"

	"github.com/countersign-dev/countersign/engine"
)

// mailer is a mail server and who is written to. shoutrrr reads its URL; the
// session is our own, because shoutrrr dials by itself, out of the guard's
// reach, and waits for a slow server without end.
type mailer struct {
	*shoutrrr.Config
	from     *mail.Address
	personal bool
}

// nobody stands in a URL that leaves the recipients to the event.
const nobody = "nobody@example.invalid"

func parseMail(u *url.URL) (mailer, error) {
	service := &shoutrrr.Service{}
	err := service.Initialize(u, nil)
	personal := errors.Is(err, shoutrrr.ErrToAddressMissing)
	if personal {
		with := *u
		query := with.Query()
		query.Set("toaddresses", nobody)
		with.RawQuery = query.Encode()
		service = &shoutrrr.Service{}
		err = service.Initialize(&with, nil)
	}
	if err != nil || service.Config.Host == "" {
		return mailer{}, engine.Errorf(engine.CodeInvalidRequest,
			"url is not one that smtp:// understands: smtp://user:password@host:port/?fromaddress=…, and toaddresses=… unless the people concerned are to be written to")
	}
	m := mailer{Config: service.Config, personal: personal}
	m.FixEmailTags()
	if m.SkipTLSVerify {
		return m, engine.Errorf(engine.CodeInvalidRequest, "skiptlsverify is not accepted: whoever answered in the server's place would get the password")
	}
	if m.from, err = mail.ParseAddress(m.FromAddress); err != nil {
		return m, engine.Errorf(engine.CodeInvalidRequest, "fromaddress is no mail address")
	}
	if m.auth() != nil && !m.startsWithTLS() && !m.mayStartTLS() {
		return m, engine.Errorf(engine.CodeInvalidRequest, "user and password go over TLS only; url has both and rules TLS out")
	}
	m.from.Name = m.FromName
	if m.ClientHost == "auto" {
		if m.ClientHost, err = os.Hostname(); err != nil {
			return m, fmt.Errorf("find this machine's name: %w", err)
		}
	}
	for i, to := range m.ToAddresses {
		one, err := mail.ParseAddress(to)
		if err != nil {
			return m, engine.Errorf(engine.CodeInvalidRequest, "toaddresses holds what is no mail address")
		}
		m.ToAddresses[i] = one.Address
	}
	return m, nil
}

func (m mailer) startsWithTLS() bool {
	return m.Encryption == shoutrrr.EncMethods.ImplicitTLS || m.Encryption == shoutrrr.EncMethods.Auto && m.Port == shoutrrr.ImplicitTLSPort
}

func (m mailer) mayStartTLS() bool {
	return m.UseStartTLS && m.Encryption != shoutrrr.EncMethods.None
}

// auth is how to sign in, or nil.
func (m mailer) auth() smtp.Auth {
	switch m.Auth {
	case shoutrrr.AuthTypes.Plain:
		return smtp.PlainAuth("", m.Username, m.Password, m.Host)
	case shoutrrr.AuthTypes.CRAMMD5:
		return smtp.CRAMMD5Auth(m.Username, m.Password)
	case shoutrrr.AuthTypes.OAuth2:
		return shoutrrr.OAuth2Auth(m.Username, m.Password)
	}
	return nil
}

func (s *Sender) sendMail(ctx context.Context, u *url.URL, recipient string, n engine.Notification) error {
	m, err := parseMail(u)
	if err != nil {
		return err
	}
	if m.personal {
		to, err := mail.ParseAddress(recipient)
		if err != nil {
			return engine.Errorf(engine.CodeInvalidRequest, "the recipient has no mail address")
		}
		m.ToAddresses = []string{to.Address}
	}
	err = s.deliver(ctx, m, n)
	if err == nil || refusal(err) != nil {
		return err
	}
	if said, ok := errors.AsType[*textproto.Error](err); ok {
		return unavailable("%s answered %d to a mail", m.Host, said.Code)
	}
	return unavailable("%s took no mail", m.Host).Because(withoutURL(err))
}

// deliver is one session with the server, which ends with ctx whatever the
// server does.
func (s *Sender) deliver(ctx context.Context, m mailer, n engine.Notification) (err error) {
	raw, err := s.guard.DialContext(ctx, "tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port))))
	if refused := refusal(err); refused != nil {
		return refused // in its own words
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	defer func() { _ = raw.Close() }() // what counts was said before
	var conn net.Conn = &bounded{raw, maxSession}
	tlsConfig := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12}
	if m.startsWithTLS() {
		conn = tls.Client(conn, tlsConfig)
	}
	client, err := smtp.NewClient(conn, m.Host)
	if err != nil {
		return err
	}
	if err := greet(client, m, tlsConfig); err != nil {
		return err
	}
	if err := address(client, m); err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := body.Write(m.compose(n)); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	_ = client.Quit() // the server has taken the mail
	return nil
}

// maxSession bounds what is read of a server that talks without end.
const maxSession = 1 << 20

type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the server said too much")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// greet says hello, by TLS where the server can, and signs in, which it does over
// TLS only. A server that offers none today may do so at the next try: whoever
// stands between could have taken the offer out.
func greet(client *smtp.Client, m mailer, tlsConfig *tls.Config) error {
	if err := client.Hello(m.ClientHost); err != nil {
		return err
	}
	if _, done := client.TLSConnectionState(); !done && m.mayStartTLS() {
		can, _ := client.Extension("STARTTLS")
		if can {
			if err := client.StartTLS(tlsConfig); err != nil {
				return err
			}
		} else if m.RequireStartTLS || m.Encryption == shoutrrr.EncMethods.ExplicitTLS {
			return unavailable("%s offers no TLS", m.Host)
		}
	}
	auth := m.auth()
	if auth == nil {
		return nil
	}
	if _, encrypted := client.TLSConnectionState(); !encrypted {
		return unavailable("%s offers no TLS, and user and password go over TLS only", m.Host)
	}
	return client.Auth(auth)
}

// address names sender and recipients. Of several recipients, those whom the
// server will never take are passed over if it takes another: the mail would go
// to the others again and again.
func address(client *smtp.Client, m mailer) error {
	if err := client.Mail(m.from.Address); err != nil {
		return err
	}
	taken := false
	var refused error
	for _, to := range m.ToAddresses {
		err := client.Rcpt(to)
		if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code/100 == 5 {
			refused = engine.Errorf(engine.CodeInvalidRequest, "%s refused the recipients for good (%d)", m.Host, said.Code)
			continue
		}
		if err != nil {
			return err
		}
		taken = true
	}
	if !taken {
		return refused
	}
	return nil
}

// compose is the mail (RFC 5322). Its Message-ID is the notification's, so that
// a mail that was sent twice shows as one.
func (m mailer) compose(n engine.Notification) []byte {
	var b bytes.Buffer
	domain := m.from.Address[strings.LastIndex(m.from.Address, "@")+1:]
	to := (&mail.Address{Address: m.ToAddresses[0]}).String()
	for _, more := range m.ToAddresses[1:] {
		to += ", " + (&mail.Address{Address: more}).String()
	}
	for _, header := range [][2]string{
		{"From", m.from.String()}, {"To", to}, {"Subject", mime.QEncoding.Encode("utf-8", subject(n, asItIs))},
		{"Date", n.Time.Format(time.RFC1123Z)}, {"Message-ID", "<" + n.ID + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		_, _ = fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1]) // a buffer never fails
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(strings.ReplaceAll(mailText(n), "\n", "\r\n") + "\r\n"))
	_ = body.Close()
	return b.Bytes()
}

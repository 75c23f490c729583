package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"

	shoutrrr "github.com/nicholas-fedor/shoutrrr/pkg/services/email/smtp"
	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/countersign-dev/countersign/engine"
)

// mailTarget is a mail server with the sender and the recipients. shoutrrr reads
// its URL and go-mail writes and sends the message, through [publicDialer].
type mailTarget struct {
	*shoutrrr.Config
	from     *mail.Address
	to       []*mail.Address
	personal bool // each event has its own recipient
}

// placeholderRecipient lets shoutrrr parse a URL without recipients, which it
// would refuse.
const placeholderRecipient = "nobody@example.invalid"

func parseMail(u *url.URL) (mailTarget, error) {
	service := &shoutrrr.Service{}
	err := service.Initialize(u, nil)
	personal := errors.Is(err, shoutrrr.ErrToAddressMissing)
	if personal {
		with := *u
		query := with.Query()
		query.Set("toaddresses", placeholderRecipient)
		with.RawQuery = query.Encode()
		service = &shoutrrr.Service{}
		err = service.Initialize(&with, nil)
	}
	if err != nil || service.Config.Host == "" {
		return mailTarget{}, engine.Errorf(engine.CodeInvalidRequest,
			"url is not a valid smtp:// URL; write smtp://user:password@host:port/?fromaddress=…, and add toaddresses=… unless the requester or the approvers are to get the mail")
	}
	m := mailTarget{Config: service.Config, personal: personal}
	m.FixEmailTags()
	if m.SkipTLSVerify {
		return m, engine.Errorf(engine.CodeInvalidRequest, "url sets skiptlsverify, which would give the password to any server that answers; remove it")
	}
	if m.from, err = mail.ParseAddress(m.FromAddress); err != nil {
		return m, engine.Errorf(engine.CodeInvalidRequest, "fromaddress is not a valid mail address; write it as name@example.org")
	}
	m.from.Name = m.FromName
	if m.auth() != nil && !m.implicitTLS() && !m.startTLS() {
		return m, engine.Errorf(engine.CodeInvalidRequest, "user and password are sent over TLS only, and url turns TLS off; allow TLS or remove user and password")
	}
	for _, text := range m.ToAddresses {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return m, engine.Errorf(engine.CodeInvalidRequest, "toaddresses contains text that is not a valid mail address; separate addresses by commas")
		}
		m.to = append(m.to, &mail.Address{Address: to.Address})
	}
	return m, nil
}

// implicitTLS reports whether the connection starts with TLS (RFC 8314, section 3.3).
func (m mailTarget) implicitTLS() bool {
	return m.Encryption == shoutrrr.EncMethods.ImplicitTLS || m.Encryption == shoutrrr.EncMethods.Auto && m.Port == shoutrrr.ImplicitTLSPort
}

// startTLS reports whether the connection may change to TLS by STARTTLS (RFC 3207).
func (m mailTarget) startTLS() bool {
	return m.UseStartTLS && m.Encryption != shoutrrr.EncMethods.None
}

// auth is how to sign in, or nil.
func (m mailTarget) auth() smtp.Auth {
	switch m.Auth {
	case shoutrrr.AuthTypes.Plain:
		return smtp.PlainAuth("", m.Username, m.Password, m.Host, false)
	case shoutrrr.AuthTypes.CRAMMD5:
		return smtp.CRAMMD5Auth(m.Username, m.Password)
	case shoutrrr.AuthTypes.OAuth2:
		return smtp.XOAuth2Auth(m.Username, m.Password)
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
			return engine.Errorf(engine.CodeInvalidRequest, "the recipient has no valid mail address; set one in the user's profile")
		}
		m.to = []*mail.Address{{Address: to.Address}}
	}
	err = s.deliver(ctx, m, n)
	if own := engineError(err); err == nil || own != nil {
		return own
	}
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return unavailable("%s answered %d to a mail", m.Host, reply.Code)
	}
	return unavailable("%s did not accept the mail", m.Host).Because(withoutURL(err))
}

// deliver holds one session with the server. Closing the connection when ctx ends
// bounds the session, whatever the server does.
func (s *Sender) deliver(ctx context.Context, m mailTarget, n engine.Notification) error {
	var raw net.Conn
	tlsConfig := &tls.Config{ServerName: m.Host, MinVersion: tls.VersionTLS12, RootCAs: s.roots}
	dial := func(context.Context, string, string) (conn net.Conn, err error) {
		if raw, err = s.dialer.DialContext(ctx, "tcp", net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port)))); err != nil {
			return nil, err
		}
		conn = &limitedConn{raw, maxSession}
		if m.implicitTLS() {
			conn = tls.Client(conn, tlsConfig)
		}
		context.AfterFunc(ctx, func() { _ = raw.Close() })
		return conn, nil
	}
	options := []gomail.Option{
		gomail.WithDialContextFunc(dial), gomail.WithTimeout(Timeout),
		gomail.WithTLSConfig(tlsConfig), gomail.WithTLSPolicy(gomail.NoTLS),
	}
	if !m.implicitTLS() && m.startTLS() {
		options = append(options, gomail.WithTLSPolicy(gomail.TLSOpportunistic))
	}
	if m.ClientHost != "auto" && m.ClientHost != "" {
		options = append(options, gomail.WithHELO(m.ClientHost))
	}
	dialer, err := gomail.NewClient(m.Host, options...)
	if err != nil {
		return err
	}
	client, err := dialer.DialToSMTPClientWithContext(ctx)
	if raw != nil {
		defer func() { _ = raw.Close() }() // the server's answers say whether the mail was accepted
	}
	if err != nil {
		return err
	}
	if err := signIn(client, m); err != nil {
		return err
	}
	if err := envelope(client, m); err != nil {
		return err
	}
	body, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := m.compose(n).WriteTo(body); err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	_ = client.Quit() // the server has accepted the mail
	return nil
}

// maxSession is how many bytes are read from a server that sends without end.
const maxSession = 1 << 20

type limitedConn struct {
	net.Conn
	left int
}

func (c *limitedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the server sent more than %d bytes", maxSession)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// signIn sends user and password, over TLS only. go-mail's own rule exempts
// localhost. A server that offers no TLS is temporarily unavailable, because an
// attacker on the way may have removed its offer.
func signIn(client *smtp.Client, m mailTarget) error {
	auth := m.auth()
	_, encrypted := client.TLSConnectionState()
	switch required := m.startTLS() && (m.RequireStartTLS || m.Encryption == shoutrrr.EncMethods.ExplicitTLS); {
	case !encrypted && auth != nil:
		return unavailable("%s offers no TLS, and user and password are sent over TLS only", m.Host)
	case !encrypted && required:
		return unavailable("%s offers no TLS", m.Host)
	case auth != nil:
		return client.Auth(auth)
	}
	return nil
}

// envelope names the sender and the recipients. A recipient that the server
// refuses permanently is skipped if another is accepted: a retry would send the mail
// to the others again. go-mail's Send would refuse the mail to all of them.
func envelope(client *smtp.Client, m mailTarget) error {
	if err := client.Mail((&mail.Address{Address: m.from.Address}).String()); err != nil {
		return err
	}
	accepted := false
	var refused error
	for _, to := range m.to {
		err := client.Rcpt(to.String())
		if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code/100 == 5 {
			refused = engine.Errorf(engine.CodeInvalidRequest, "%s refuses every recipient permanently (%d); correct the mail addresses", m.Host, reply.Code)
			continue
		}
		if err != nil {
			return err
		}
		accepted = true
	}
	if !accepted {
		return refused
	}
	return nil
}

// compose makes the mail (RFC 5322). Its Message-ID is the notification's id, so
// that mail programs show a mail that was sent twice once.
func (m mailTarget) compose(n engine.Notification) *gomail.Msg {
	msg := gomail.NewMsg(gomail.WithEncoding(gomail.EncodingQP), gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(m.from)
	msg.ToMailAddress(m.to...)
	msg.Subject(subject(n, unescaped))
	msg.SetDateWithValue(n.Time)
	msg.SetMessageIDWithValue(n.ID + m.from.Address[strings.LastIndex(m.from.Address, "@"):])
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, mailText(n)+"\n")
	return msg
}

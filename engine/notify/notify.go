// Package notify sends notifications to webhooks, chats and mailboxes. Start with
// [Sender], the [engine.Notifier] port.
//
// A target is a URL. https:// is a webhook: JSON, signed as Standard Webhooks 1.0
// specifies. smtp:// is mail, and the other schemes are shoutrrr's chat services,
// in the URL forms that shoutrrr documents.
//
// The package promises for every scheme that it accepts:
//   - No connection is made to a loopback, private, link-local, metadata or
//     otherwise special address, unless the operator allows the host by name. The
//     address that is dialled is checked, so a name that changes its address and
//     a redirect cannot bypass the rule. Such a URL is refused when the target is
//     made; later it fails one attempt, and the next may succeed.
//   - An attempt ends after [Timeout], reads a bounded part of an answer and
//     follows no redirect.
//   - Text that users chose (a reason, a comment, a name) cannot mention, format
//     or link anything in a chat, nor add a header to a mail.
//   - A mail server gets user and password over TLS only, whatever is allowed.
//   - No error contains more of a URL than its scheme and host.
package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/countersign-dev/countersign/engine"
)

// Timeout bounds one delivery attempt.
const Timeout = 10 * time.Second

// Options say what the operator allows. AllowHosts are host names or addresses,
// exactly as URLs name them, to which the rules on addresses and on plain http
// do not apply.
type Options struct {
	AllowHosts []string
	Clock      engine.Clock
}

// Sender sends notifications.
type Sender struct {
	dialer    publicDialer
	clock     engine.Clock
	transport http.RoundTripper
	roots     *x509.CertPool // certificate authorities of mail servers; nil for the system's
}

var _ engine.Notifier = (*Sender)(nil)

// New makes a Sender. It uses no proxy, because the address behind a proxy cannot
// be checked.
func New(o Options) *Sender {
	d := newPublicDialer(o.AllowHosts)
	return &Sender{dialer: d, clock: o.Clock, transport: &http.Transport{
		DialContext: d.DialContext, TLSHandshakeTimeout: Timeout, ResponseHeaderTimeout: Timeout,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
	}}
}

// Check implements [engine.Notifier]. It accepts a name that has no address now:
// the name is checked again whenever it is dialled.
func (s *Sender) Check(ctx context.Context, raw engine.Secret) (engine.DestinationKind, error) {
	u, err := parse(raw)
	if err != nil {
		return engine.DestinationKind{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	kind := engine.DestinationKind{Address: u.Scheme + "://" + u.Host}
	if u.Scheme == "smtp" {
		m, err := parseMail(u)
		if err != nil {
			return kind, err
		}
		kind.Personal = m.personal
		return kind, s.dialer.check(ctx, m.Host)
	}
	// A dry run shows to which host the service would send.
	a := s.attempt(ctx)
	a.dryRun = true
	err = s.post(a, u, engine.Destination{Signing: dryRunSecret}, engine.Notification{})
	if a.refused != nil {
		return kind, a.refused
	}
	if a.host == "" {
		return kind, engine.Errorf(engine.CodeInvalidRequest, "url is not a valid %s:// URL; see shoutrrr's documentation for its form", u.Scheme).Because(withoutURL(err))
	}
	kind.Signed = isWebhook(u)
	if !kind.Signed {
		kind.Address = u.Scheme + "://" + a.host // some services' URLs hold a secret where others have the host
	}
	return kind, s.dialer.check(ctx, a.host)
}

// Send implements [engine.Notifier].
func (s *Sender) Send(ctx context.Context, to engine.Destination, n engine.Notification) error {
	u, err := parse(to.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if u.Scheme == "smtp" {
		return s.sendMail(ctx, u, to.Recipient, n)
	}
	a := s.attempt(ctx)
	return a.result(s.post(a, u, to, n))
}

func (s *Sender) post(a *attempt, u *url.URL, to engine.Destination, n engine.Notification) error {
	client := &http.Client{Transport: a, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if isWebhook(u) {
		return sendWebhook(client, u, to.Signing, n, s.clock())
	}
	return sendService(client, u, n)
}

const maxURL = 2000

// parse accepts a URL of a known scheme.
func parse(raw engine.Secret) (*url.URL, error) {
	u, err := url.Parse(raw.Reveal())
	switch {
	case utf8.RuneCountInString(raw.Reveal()) > maxURL:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url is longer than %d characters; give a shorter one", maxURL)
	case err != nil || u.Scheme == "" || u.Opaque != "":
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url is not a valid URL; give an https URL, or one of %s", strings.Join(schemes()[1:], ", "))
	case isWebhook(u) && u.Hostname() == "":
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url has no host; write https://host/path")
	case !isWebhook(u) && u.Scheme != "smtp" && services[u.Scheme] == nil:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url has the unknown scheme %q; use one of %s", u.Scheme, strings.Join(schemes(), ", "))
	}
	return u, nil
}

func isWebhook(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "http" }

// withoutURL keeps the cause of a network error and drops its address, because
// the URL and a service's own error text may hold secrets.
func withoutURL(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	if in, ok := errors.AsType[*url.Error](err); ok {
		return withoutURL(in.Err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return nil
}

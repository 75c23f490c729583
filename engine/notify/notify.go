// Package notify sends notifications to where a URL says. Start with [Sender],
// the [engine.Notifier] port.
//
// https:// is a webhook of our own: JSON, signed as Standard Webhooks has it.
// smtp:// is mail, and the other schemes are shoutrrr's chat services, in the
// URL forms that shoutrrr documents.
//
// The package promises, of every scheme it accepts:
//   - no connection is made to a loopback, private, link-local, metadata or
//     otherwise special address, unless the operator allows the host by name;
//     that is checked on the address that is dialled, so neither a name that
//     changes its address nor a redirect gets around it. When a target is made
//     that refuses it; later it fails a try, and the next may succeed;
//   - a try ends after [Within], reads no more than a little of any answer and
//     follows no redirect;
//   - text that others chose (a reason, a comment, a name) cannot mention,
//     format or link anything in a chat, nor add a header to a mail;
//   - a mail server gets user and password over TLS only, whatever is allowed;
//   - no error holds more of a URL than its scheme and host.
package notify

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// Within bounds one try.
const Within = 10 * time.Second

// Options say what the operator allows. AllowHosts are host names or addresses,
// exactly as URLs name them, to which the rules on addresses and on plain http
// do not apply.
type Options struct {
	AllowHosts []string
	Clock      engine.Clock
}

// Sender sends notifications.
type Sender struct {
	guard     guard
	clock     engine.Clock
	transport http.RoundTripper
}

var _ engine.Notifier = (*Sender)(nil)

// New makes a Sender. It uses no proxy: behind one, no address can be checked.
func New(o Options) *Sender {
	g := newGuard(o.AllowHosts)
	return &Sender{guard: g, clock: o.Clock, transport: &http.Transport{
		DialContext: g.DialContext, TLSHandshakeTimeout: Within, ResponseHeaderTimeout: Within,
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
	}}
}

// Check implements [engine.Notifier]. A name that has no address now is let
// pass: it is checked again whenever it is dialled.
func (s *Sender) Check(ctx context.Context, raw engine.Secret) (engine.DestinationKind, error) {
	u, err := parse(raw)
	if err != nil {
		return engine.DestinationKind{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	kind := engine.DestinationKind{Address: u.Scheme + "://" + u.Host}
	if u.Scheme == "smtp" {
		m, err := parseMail(u)
		if err != nil {
			return kind, err
		}
		kind.Personal = m.personal
		return kind, s.guard.check(ctx, m.Host)
	}
	// A rehearsal shows which host the service would go to.
	x := s.exchange(ctx)
	x.rehearsal = true
	err = s.post(x, u, engine.Destination{Signing: rehearsalSecret}, engine.Notification{})
	if x.refused != nil {
		return kind, x.refused
	}
	if x.host == "" {
		return kind, engine.Errorf(engine.CodeInvalidRequest, "url is not one that %s:// understands", u.Scheme).Because(withoutURL(err))
	}
	kind.Signed = webhook(u)
	if !kind.Signed {
		kind.Address = u.Scheme + "://" + x.host // a service's URL may hold a secret where others have the host
	}
	return kind, s.guard.check(ctx, x.host)
}

// Send implements [engine.Notifier].
func (s *Sender) Send(ctx context.Context, to engine.Destination, n engine.Notification) error {
	u, err := parse(to.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, Within)
	defer cancel()
	if u.Scheme == "smtp" {
		return s.sendMail(ctx, u, to.Recipient, n)
	}
	x := s.exchange(ctx)
	return x.outcome(s.post(x, u, to, n))
}

func (s *Sender) post(x *exchange, u *url.URL, to engine.Destination, n engine.Notification) error {
	client := &http.Client{Transport: x, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if webhook(u) {
		return sendWebhook(client, u, to.Signing, n, s.clock())
	}
	return sendService(client, u, n)
}

const maxURL = 2000

// parse splits a URL of a scheme that is accepted.
func parse(raw engine.Secret) (*url.URL, error) {
	u, err := url.Parse(raw.Reveal())
	switch {
	case err != nil || u.Scheme == "" || u.Opaque != "" || len(raw) > maxURL:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url is none, or longer than %d characters", maxURL)
	case webhook(u) && u.Hostname() == "":
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url names no host")
	case !webhook(u) && u.Scheme != "smtp" && services[u.Scheme] == nil:
		return nil, engine.Errorf(engine.CodeInvalidRequest, "url begins with %q; it may begin with %s", u.Scheme, strings.Join(schemes(), ", "))
	}
	return u, nil
}

func webhook(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "http" }

// withoutURL keeps what failed and drops where: the URL may hold secrets, and so
// may whatever a service's own error says.
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

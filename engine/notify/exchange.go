package notify

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/countersign-dev/countersign/engine"
)

// maxAnswer bounds what is read of an answer's header, and of its body.
const maxAnswer = 64 << 10

// exchange is the one request of a try, whoever makes it: it ends with ctx, goes
// through the guard, and remembers what came of it in words that hold no URL.
type exchange struct {
	ctx       context.Context //nolint:containedctx // services make requests of their own, without one
	sender    *Sender
	rehearsal bool // look where the request goes, and do not send it
	host      string
	refused   error
	failed    error
	status    int
}

func (s *Sender) exchange(ctx context.Context) *exchange { return &exchange{ctx: ctx, sender: s} }

var (
	errRehearsal = errors.New("this is a rehearsal")
	errSecond    = errors.New("a try makes one request")
)

// RoundTrip implements [http.RoundTripper].
func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if x.host != "" {
		return nil, errSecond
	}
	x.host = req.URL.Hostname()
	if req.URL.Scheme != "https" && !x.sender.guard.allows(x.host) {
		code := engine.CodeUnavailable // until the operator allows it
		if x.rehearsal {
			code = engine.CodeInvalidRequest
		}
		x.refused = engine.Errorf(code,
			"plain http goes only to hosts that the operator allows by name (notifications.allow_hosts); use https")
		return nil, x.refused
	}
	if x.rehearsal {
		return nil, errRehearsal
	}
	answer, err := x.sender.transport.RoundTrip(req.WithContext(x.ctx))
	if err != nil {
		x.failed, x.refused = err, refusal(err)
		return nil, err
	}
	x.status = answer.StatusCode
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

// outcome is what the caller hears of a try that came to err.
func (x *exchange) outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case x.refused != nil:
		return x.refused
	case x.host == "":
		return engine.Errorf(engine.CodeInvalidRequest, "the target's service could not make a request of its URL")
	case x.status >= 300 && x.status < 400:
		return unavailable("%s answered %d; redirects are not followed", x.host, x.status)
	case x.status != 0:
		return unavailable("%s answered %d, and not as its service does when it accepts a message", x.host, x.status)
	}
	return unavailable("%s could not be reached", x.host).Because(withoutURL(x.failed))
}

func unavailable(format string, args ...any) *engine.Error {
	return engine.Errorf(engine.CodeUnavailable, format, args...)
}

package notify

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/countersign-dev/countersign/engine"
)

// maxAnswer is how many bytes are read of an answer's header, and of its body.
const maxAnswer = 64 << 10

// attempt is the transport of one delivery attempt. It allows one HTTP request,
// ends it with ctx, dials through [publicDialer] and keeps the result in words
// that contain no URL.
type attempt struct {
	ctx     context.Context //nolint:containedctx // services make their requests without a context
	sender  *Sender
	dryRun  bool // record the host of the request and do not send it
	host    string
	refused error
	failed  error
	status  int
}

func (s *Sender) attempt(ctx context.Context) *attempt { return &attempt{ctx: ctx, sender: s} }

var (
	errDryRun        = errors.New("a dry run sends no request")
	errSecondRequest = errors.New("an attempt makes one request only")
)

// RoundTrip implements [http.RoundTripper].
func (a *attempt) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.host != "" {
		return nil, errSecondRequest
	}
	a.host = req.URL.Hostname()
	if req.URL.Scheme != "https" && !a.sender.dialer.allows(a.host) {
		code := engine.CodeUnavailable // a later attempt succeeds if the operator allows the host meanwhile
		if a.dryRun {
			code = engine.CodeInvalidRequest
		}
		a.refused = engine.Errorf(code,
			"plain http is sent only to hosts that the operator allows by name (notifications.allow_hosts); use https")
		return nil, a.refused
	}
	if a.dryRun {
		return nil, errDryRun
	}
	answer, err := a.sender.transport.RoundTrip(req.WithContext(a.ctx))
	if err != nil {
		a.failed, a.refused = err, engineError(err)
		return nil, err
	}
	a.status = answer.StatusCode
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}

// result is what the caller gets for an attempt that returned err.
func (a *attempt) result(err error) error {
	switch {
	case err == nil:
		return nil
	case a.refused != nil:
		return a.refused
	case a.host == "":
		return engine.Errorf(engine.CodeInvalidRequest, "the chat service could not make a request from the target's URL; correct the URL")
	case a.status >= 300 && a.status < 400:
		return unavailable("%s answered %d; redirects are not followed", a.host, a.status)
	case a.status != 0:
		return unavailable("%s answered %d and did not confirm that it accepts the message", a.host, a.status)
	}
	return unavailable("%s could not be reached", a.host).Because(withoutURL(a.failed))
}

func unavailable(format string, args ...any) *engine.Error {
	return engine.Errorf(engine.CodeUnavailable, format, args...)
}

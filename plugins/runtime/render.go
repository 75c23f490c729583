package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The ways in which Plugin.Render fails. Their texts may be shown to callers; the
// error that wraps one of them adds the cause, which is for the log.
var (
	ErrNotRunning = errors.New("its plugin is not running")
	ErrEnded      = errors.New("its plugin ended while rendering")
	ErrRefused    = errors.New("its plugin refused or failed")
	ErrTooLarge   = errors.New("its plugin made a file that is too large")
	ErrEmpty      = errors.New("its plugin made an empty file")
)

// ErrDeadline is the cause of a context whose deadline is the host's own limit for
// a render. A plugin that answers nothing until then is killed; one whose caller
// leaves earlier is not at fault.
var ErrDeadline = errors.New("the render took too long")

// NewRequest returns the part of a job that the format's plugin receives: the key
// and the passphrase only if the format itself declares the need.
func NewRequest(f *pluginv1.Format, job engine.RenderJob, options string) *pluginv1.RenderRequest {
	request := &pluginv1.RenderRequest{
		Format: f.GetId(), Name: strings.ToValidUTF8(job.Name, "\uFFFD"),
		Leaf: job.Leaf, Chain: job.Chain, Options: options,
	}
	if f.GetNeedsKey() {
		request.PrivateKey = job.PrivateKey
	}
	if f.GetNeedsPassphrase() {
		request.Passphrase = job.Passphrase.Reveal()
	}
	return request
}

// Render has the plugin make a file. secret says that the request holds a key, a
// passphrase or a file made with one: the plugin's output is not logged from then
// on. A call that finds that the process has ended is made once more, on the next one;
// rendering has no effect that could happen twice.
func (p *Plugin) Render(ctx context.Context, request *pluginv1.RenderRequest, secret bool) ([]byte, error) {
	for retried := false; ; retried = true {
		in, err := p.running(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		if secret {
			in.output.withhold()
		}
		answered, enoughTime := in.answered.Load(), p.halfLeft(ctx)
		answer, err := in.render(ctx, request)
		if err == nil {
			p.succeeded(in)
			return p.checkFile(answer.GetContent())
		}
		awaitDeadline(ctx, err)
		switch {
		case ctx.Err() == nil && (status.Code(err) == codes.Unavailable || in.ended()):
			in.process.kill("its connection broke") // without a connection it is useless
			if !retried {
				continue
			}
			return nil, in.failure(ErrEnded, err)
		case errors.Is(context.Cause(ctx), ErrDeadline) && enoughTime && in.answered.Load() == answered:
			in.process.kill(fmt.Sprintf("it answered nothing for %s", p.config.Deadline))
		}
		if status.Code(err) == codes.ResourceExhausted {
			return nil, in.failure(ErrTooLarge, err)
		}
		return nil, in.failure(ErrRefused, err)
	}
}

func (p *Plugin) checkFile(file []byte) ([]byte, error) {
	switch {
	case len(file) == 0:
		return nil, ErrEmpty
	case len(file) > p.config.MaxFile:
		return nil, ErrTooLarge
	}
	return file, nil
}

// render makes the call. The process may use one CPU for as long as it lasts.
func (in *instance) render(ctx context.Context, request *pluginv1.RenderRequest) (*pluginv1.RenderResponse, error) {
	in.process.open.add(1, monotonicNow())
	defer func() { in.process.open.add(-1, monotonicNow()) }()
	return in.renderer.Render(ctx, request)
}

// halfLeft reports whether at least half of the deadline is left. A plugin that is
// called later has too little time to be blamed for missing the deadline.
func (p *Plugin) halfLeft(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) >= p.config.Deadline/2
}

// awaitDeadline waits until a deadline that has passed shows in the context. The
// plugin knows the deadline too, and its answer may arrive before the timer of
// this process fires.
func awaitDeadline(ctx context.Context, err error) {
	at, ok := ctx.Deadline()
	if ok && status.Code(err) == codes.DeadlineExceeded && time.Until(at) < 50*time.Millisecond {
		<-ctx.Done()
	}
}

// failure wraps the reason of a failed call with its cause. The cause quotes the
// plugin only as long as the process has held no secret that it could repeat.
func (in *instance) failure(reason, err error) error {
	answer := status.Convert(err)
	if in.output.isWithheld() {
		return fmt.Errorf("%w: the plugin answered %s", reason, answer.Code())
	}
	return fmt.Errorf("%w: the plugin answered %s: %s", reason, answer.Code(), declaration.Printable(answer.Message(), maxOutputLine))
}

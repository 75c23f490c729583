package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// errDeadline ends a render that took too long by the host's own measure.
var errDeadline = errors.New("the render took too long")

// retryAfter is when a caller for whom there was no slot may come again, in
// seconds.
const retryAfter = 5

// Render implements engine.Formats: it renders the formats that the job's
// format includes, then the format itself.
func (h *Host) Render(ctx context.Context, job engine.RenderJob) ([]byte, error) {
	f, leave, ok := h.enter(job.Format)
	if !ok {
		return nil, engine.Errorf(engine.CodeRendererFailed, "no plugin renders this format now")
	}
	defer leave()
	var options map[string]any
	if job.Options != "" {
		if err := json.Unmarshal([]byte(job.Options), &options); err != nil {
			return nil, f.failed("its options are not JSON", err)
		}
	}
	if _, err := f.merged.check(options); err != nil {
		return nil, f.failed("its renderer does not take these options any more", err)
	}
	r := rendering{
		settings: h.settings, job: job, options: options, files: map[*format][]byte{},
		left: h.settings.deadline, patience: h.settings.queue,
	}
	return r.render(ctx, f)
}

// rendering is one job on its way through the formats it takes.
type rendering struct {
	settings *settings
	job      engine.RenderJob
	options  map[string]any
	files    map[*format][]byte // rendered so far: nothing is rendered twice
	left     time.Duration      // of the deadline
	patience time.Duration      // left for the queue
}

func (r *rendering) render(ctx context.Context, f *format) ([]byte, error) {
	if file, ok := r.files[f]; ok {
		return file, nil
	}
	request, err := r.request(f)
	if err != nil {
		return nil, err
	}
	for _, included := range f.includes {
		if included.NeedsChain && len(r.job.Chain) == 0 {
			continue
		}
		file, err := r.render(ctx, included)
		if err != nil {
			return nil, err
		}
		request.Files = append(request.Files, &pluginv1.File{Filename: included.Filename, Content: file})
	}
	file, err := r.run(ctx, f, request)
	if err != nil {
		return nil, err
	}
	r.files[f] = file
	return file, nil
}

// run has the plugin make the file, in a slot. That is held for this call alone
// and never while another plugin's is waited for, so that renders cannot wait
// for each other.
func (r *rendering) run(ctx context.Context, f *format, request *pluginv1.RenderRequest) ([]byte, error) {
	if err := r.queue(ctx, f); err != nil {
		r.settings.metrics.outcome(ctx, f, err)
		return nil, err
	}
	defer f.by.slots.release()
	ctx, cancel := context.WithTimeoutCause(ctx, r.left, errDeadline)
	defer cancel()
	timer := prometheus.NewTimer(r.settings.metrics.durations.WithLabelValues(f.by.entry.Name, f.ID))
	file, err := r.call(ctx, f, request)
	r.left -= timer.ObserveDuration()
	r.settings.metrics.outcome(ctx, f, err)
	return file, err
}

// queue waits for a slot. Who had to wait is asked whether the file is wanted
// still: others may have had it meanwhile.
func (r *rendering) queue(ctx context.Context, f *format) error {
	timer := prometheus.NewTimer(r.settings.metrics.queued.WithLabelValues(f.by.entry.Name))
	waited, err := f.by.slots.take(ctx, r.patience)
	if waited {
		r.patience -= timer.ObserveDuration()
	}
	if waited && ctx.Err() == nil && r.job.Recheck != nil {
		if unwanted := r.job.Recheck(ctx); unwanted != nil {
			if err == nil {
				f.by.slots.release()
			}
			return unwanted
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return f.failed(r.reason(ctx, ""), err)
	}
	return engine.Errorf(engine.CodeUnavailable, "%s cannot be made now: too many are waiting for it", f.Filename).
		With("retry_after_seconds", retryAfter).Because(err)
}

// request is what the format's plugin gets to see of the job. That the catalogue
// grants it the key and the passphrase was settled when the format became
// available.
func (r *rendering) request(f *format) (*pluginv1.RenderRequest, error) {
	options, err := f.own.project(r.options)
	switch {
	case err != nil:
		return nil, f.failed("its options are not JSON", err)
	case len(r.job.Leaf) == 0:
		return nil, f.failed("there is no certificate", nil)
	case f.NeedsChain && len(r.job.Chain) == 0:
		return nil, f.failed("the certificate has no chain", nil)
	case f.declared.GetNeedsKey() && len(r.job.PrivateKey) == 0:
		return nil, f.failed("there is no private key", nil)
	case f.declared.GetNeedsPassphrase() && r.job.Passphrase == "":
		return nil, f.failed("there is no passphrase", nil)
	}
	return newRequest(f.declared, r.job, options), nil
}

// newRequest is a job as the format's plugin gets to see it: the key and the
// passphrase only if the format asked for them itself.
func newRequest(f *pluginv1.Format, job engine.RenderJob, options string) *pluginv1.RenderRequest {
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

// call has the plugin make the file. A call that finds the process dead is made
// once more, on the next process: rendering has no effect that could be doubled.
func (r *rendering) call(ctx context.Context, f *format, request *pluginv1.RenderRequest) ([]byte, error) {
	for again := false; ; again = true {
		in, err := f.by.acquire(ctx)
		if err != nil {
			return nil, f.failed(r.reason(ctx, "its plugin is not running"), err)
		}
		if f.secret() {
			in.output.withhold()
		}
		answered, fair := in.answered.Load(), r.halfLeft(ctx)
		answer, err := in.render(ctx, request)
		if err == nil {
			return r.accept(f, in, answer.GetContent())
		}
		ownDeadline(ctx, err)
		switch {
		case ctx.Err() == nil && (status.Code(err) == codes.Unavailable || in.gone()):
			in.process.condemn("its connection broke") // it is of no use
			if !again {
				continue
			}
			return nil, f.failed("its plugin ended while rendering", in.cause(err))
		case errors.Is(context.Cause(ctx), errDeadline) && fair && in.answered.Load() == answered:
			in.process.condemn(fmt.Sprintf("it answered nothing for %s", r.settings.deadline))
		}
		reason := "its plugin refused or failed"
		if status.Code(err) == codes.ResourceExhausted {
			reason = r.tooLarge()
		}
		return nil, f.failed(r.reason(ctx, reason), in.cause(err))
	}
}

// render asks the process, which may use a CPU for as long as it is asked.
func (in *instance) render(ctx context.Context, request *pluginv1.RenderRequest) (*pluginv1.RenderResponse, error) {
	in.process.work.change(1, moment())
	defer func() { in.process.work.change(-1, moment()) }()
	return in.renderer.Render(ctx, request)
}

func (r *rendering) accept(f *format, in *instance, file []byte) ([]byte, error) {
	f.by.succeeded(in)
	switch {
	case len(file) == 0:
		return nil, f.failed("its plugin made an empty file", nil)
	case len(file) > r.settings.maxFile:
		return nil, f.failed(r.tooLarge(), nil)
	}
	return file, nil
}

func (r *rendering) tooLarge() string {
	return fmt.Sprintf("its plugin made a file of more than %d bytes", r.settings.maxFile)
}

// halfLeft tells whether a plugin called now has a fair share of the deadline.
func (r *rendering) halfLeft(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) >= r.settings.deadline/2
}

// ownDeadline waits for a deadline that has passed to show in the context: the
// plugin was told of it too, and its answer may arrive before our own timer runs.
func ownDeadline(ctx context.Context, err error) {
	at, ok := ctx.Deadline()
	if ok && status.Code(err) == codes.DeadlineExceeded && time.Until(at) < 50*time.Millisecond {
		<-ctx.Done()
	}
}

// reason is why a render failed, in the host's words.
func (r *rendering) reason(ctx context.Context, otherwise string) string {
	switch {
	case errors.Is(context.Cause(ctx), errDeadline):
		return fmt.Sprintf("it took longer than %s", r.settings.deadline)
	case ctx.Err() != nil:
		return "the caller no longer waits"
	default:
		return otherwise
	}
}

// cause is what the log learns of a failed call: the plugin's own words only as
// long as the process has held no secret that it could put into them.
func (in *instance) cause(err error) error {
	failure := status.Convert(err)
	if in.output.withheld() {
		return fmt.Errorf("plugin answered %s", failure.Code())
	}
	return fmt.Errorf("plugin answered %s: %s", failure.Code(), printable(failure.Message(), maxOutputLine))
}

// failed is the one error of a render: the detail is the host's own text.
func (f *format) failed(reason string, cause error) error {
	failure := engine.Errorf(engine.CodeRendererFailed, "%s could not be made: %s", f.Filename, reason)
	if cause != nil {
		failure.Err = cause
	}
	return failure
}

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/tracing"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// retryAfter is after how many seconds a caller who got no slot should try again.
const retryAfter = 5

// Render implements engine.Formats. It renders the formats that the job's format
// includes, then the format itself.
func (h *Host) Render(ctx context.Context, job engine.RenderJob) ([]byte, error) {
	f, release, ok := h.useFormat(job.Format)
	if !ok {
		return nil, engine.Errorf(engine.CodeRendererFailed, "no plugin renders this format now")
	}
	defer release()
	var options map[string]any
	if job.Options != "" {
		if err := json.Unmarshal([]byte(job.Options), &options); err != nil {
			return nil, f.failed("its options are not JSON", err)
		}
	}
	if _, err := f.mergedOptions.Validate(options); err != nil {
		return nil, f.failed("its renderer no longer accepts these options", err)
	}
	r := rendering{
		host: h, job: job, options: options, files: map[*format][]byte{},
		timeLeft: h.options.Deadline, waitLeft: h.options.Queue,
	}
	return r.render(ctx, f)
}

// rendering renders one job, with the formats that it includes.
type rendering struct {
	host     *Host
	job      engine.RenderJob
	options  map[string]any
	files    map[*format][]byte // rendered so far: no format is rendered twice
	timeLeft time.Duration      // of the deadline
	waitLeft time.Duration      // of the longest wait in queues
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

// request returns what the format's plugin receives of the job. When the format
// became available, the host has checked that the catalogue grants it the key and
// the passphrase.
func (r *rendering) request(f *format) (*pluginv1.RenderRequest, error) {
	options, err := f.ownOptions.Select(r.options)
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
	return runtime.NewRequest(f.declared, r.job, options), nil
}

// run has the plugin make the file, in a slot of its queue. The slot is held for
// this call only, and never while the render waits for another plugin's slot, so
// renders cannot block each other.
func (r *rendering) run(ctx context.Context, f *format, request *pluginv1.RenderRequest) (file []byte, err error) {
	ctx, span := tracing.Start(ctx, "render", tracing.Plugin.String(f.plugin.Entry.Name), tracing.Format.String(f.ID))
	defer func() { tracing.End(span, err) }()
	if err := r.awaitSlot(ctx, f); err != nil {
		r.host.metrics.countRender(ctx, f, err)
		return nil, err
	}
	defer f.plugin.queue.release()
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeLeft, runtime.ErrDeadline)
	defer cancel()
	timer := prometheus.NewTimer(r.host.metrics.durations.WithLabelValues(f.plugin.Entry.Name, f.ID))
	file, err = f.plugin.Render(ctx, request, f.secret())
	r.timeLeft -= timer.ObserveDuration()
	if err != nil {
		err = f.failed(r.reason(ctx, err), err)
	}
	r.host.metrics.countRender(ctx, f, err)
	return file, err
}

// awaitSlot waits for a slot. If the render had to wait, it checks that the file is
// still wanted: meanwhile another request may have consumed the token.
func (r *rendering) awaitSlot(ctx context.Context, f *format) error {
	timer := prometheus.NewTimer(r.host.metrics.queued.WithLabelValues(f.plugin.Entry.Name))
	waited, err := f.plugin.queue.acquire(ctx, r.waitLeft)
	if waited {
		r.waitLeft -= timer.ObserveDuration()
	}
	if waited && ctx.Err() == nil && r.job.Recheck != nil {
		if unwanted := r.job.Recheck(ctx); unwanted != nil {
			if err == nil {
				f.plugin.queue.release()
			}
			return unwanted
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return f.failed(r.reason(ctx, err), err)
	}
	return engine.Errorf(engine.CodeUnavailable, "%s cannot be made now, because too many requests wait for it; try again later", f.Filename).
		With("retry_after_seconds", retryAfter).Because(err)
}

// reason says why a render failed, in words that a caller may see.
func (r *rendering) reason(ctx context.Context, err error) string {
	switch {
	case errors.Is(context.Cause(ctx), runtime.ErrDeadline):
		return fmt.Sprintf("it took longer than %s", r.host.options.Deadline)
	case ctx.Err() != nil:
		return "the caller no longer waits"
	case errors.Is(err, runtime.ErrTooLarge):
		return fmt.Sprintf("its plugin made a file of more than %d bytes", r.host.options.MaxFile)
	}
	for _, reason := range []error{runtime.ErrNotRunning, runtime.ErrEnded, runtime.ErrEmpty} {
		if errors.Is(err, reason) {
			return reason.Error()
		}
	}
	return runtime.ErrRefused.Error()
}

// failed returns the error of a render. The reason is the host's own text; the
// cause is for the log.
func (f *format) failed(reason string, cause error) error {
	failure := engine.Errorf(engine.CodeRendererFailed, "%s could not be made: %s", f.Filename, reason)
	if cause != nil {
		failure.Err = cause
	}
	return failure
}

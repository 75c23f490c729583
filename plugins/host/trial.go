package host

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// ErrUnconfined says that a plugin was not run, since it cannot be confined whole.
var ErrUnconfined = sandbox.ErrUnconfined

// Trial is a plugin that no catalogue lists, confined as any, to look at what it
// declares and does. It serves nobody, and must be given no key of anybody's.
type Trial struct {
	path        string
	image       *image
	sockets     *sockets
	in          *instance
	description *pluginv1.DescribeResponse
	// SHA256 is of the binary that runs, in hex, as catalogues list it.
	SHA256 string
}

// Try starts a binary under the name of its file. Nobody knows it yet, so unless
// mode is SandboxBestEffort it must be confined whole: ErrUnconfined says that it
// cannot be. Whatever it writes to standard output and error goes to listen, unless
// that is nil. ctx bounds the start.
func Try(ctx context.Context, path, mode string, listen io.Writer) (_ *Trial, err error) {
	t := &Trial{path: path}
	if t.SHA256, err = Checksum(path); err != nil {
		return nil, fmt.Errorf("open plugin: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.sockets, err = openSockets(""); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil {
		return nil, fmt.Errorf("hash plugin: %w", err)
	}
	if t.image, err = loadImage(path, sum, t.sockets.path); err != nil {
		return nil, err
	}
	box := sandbox.Spec{Name: processPrefix + filepath.Base(path), Libraries: t.image.libraries, Require: mode != SandboxBestEffort, Limits: sandbox.DefaultLimits}
	s := &settings{sockets: t.sockets, deadline: DefaultDeadline, maxFile: DefaultMaxFile, log: slog.New(slog.DiscardHandler), listen: listen}
	if t.in, err = startInstance(ctx, t.image, box, s); err != nil {
		if u, ok := errors.AsType[*unfit](err); ok {
			err = fmt.Errorf("%w: %s", err, printable(u.known.Error(), maxOutputLine))
		}
		return nil, err
	}
	t.description = t.in.description
	return t, nil
}

// Close ends the plugin and waits until nothing of it is left. By then listen
// has what the plugin wrote.
func (t *Trial) Close() error {
	var errs []error
	if t.in != nil {
		t.in.end()
	}
	if t.image != nil {
		errs = append(errs, t.image.close())
	}
	if t.sockets != nil {
		errs = append(errs, t.sockets.close())
	}
	return errors.Join(errs...)
}

// Version is the plugin's own word on it.
func (t *Trial) Version() string { return printable(t.description.GetVersion(), maxVersion) }

// Formats are what the plugin declares, unchecked.
func (t *Trial) Formats() []*pluginv1.Format { return t.description.GetFormats() }

// Linked tells whether the binary needs the system's libraries to start.
func (t *Trial) Linked() bool { return t.image.libraries }

// Sandbox is what confines the plugin.
func (t *Trial) Sandbox() engine.Sandbox {
	report := t.in.process.report
	return engine.Sandbox{Enforced: slices.Clone(report.Enforced), Missing: slices.Clone(report.Missing)}
}

// Check is what a host whose catalogue lists every format of the plugin would
// hold against it.
func (t *Trial) Check() error {
	e := entry{Name: "it"}
	for _, f := range t.Formats() {
		e.Formats = append(e.Formats, f.GetId())
	}
	e.Grants = grants{e.Formats, e.Formats}
	if err := checkDescription(t.description, e); err != nil {
		return err
	}
	it := &supervisor{entry: e, description: t.description}
	if clash := claim(map[string]string{}, it); clash != "" {
		return errors.New(clash)
	}
	for _, f := range t.Formats() {
		_, err := parseSchema(f.GetOptionsSchema())
		if len(f.GetIncludes()) == 0 { // others have options that their own plugins declare
			err = (&format{declared: f, by: it}).settleSelf()
		}
		if err != nil {
			return fmt.Errorf("its format %s: %w", f.GetId(), err)
		}
	}
	return nil
}

// Render has the plugin make one file of a format that it declares. As in a host,
// it gets key and passphrase only if that format declares them. The error is the
// plugin's own, with a status of package grpc/status.
func (t *Trial) Render(ctx context.Context, f *pluginv1.Format, job engine.RenderJob, files map[string][]byte) ([]byte, error) {
	request := newRequest(f, job, job.Options)
	for name, content := range files {
		request.Files = append(request.Files, &pluginv1.File{Filename: name, Content: content})
	}
	answer, err := t.in.render(ctx, request)
	return answer.GetContent(), err
}

// Fate says how the plugin came to its end, and is "" while it runs.
func (t *Trial) Fate() string {
	if !t.in.gone() {
		return ""
	}
	return cmp.Or(t.in.fate(), "it was ended")
}

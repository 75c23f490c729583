package runtime

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
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The defaults for renders, of hosts and trials alike.
const (
	DefaultDeadline = 10 * time.Second
	DefaultMaxFile  = 16 << 20 // bytes
)

// Trial is a running plugin that no catalogue lists. It is confined like any other
// plugin. It serves no caller, and must be given only keys made for the trial.
type Trial struct {
	path    string
	image   *image
	sockets *Sockets
	in      *instance
	// SHA256 is that of the running binary, in hexadecimal.
	SHA256 string
}

// Try starts a binary under the name of its file. The binary is not trusted yet, so
// it must be fully confined unless mode is sandbox.ModeBestEffort; the error is
// sandbox.ErrUnconfined if it cannot be. The plugin's standard output and error go
// to output, if that is not nil. ctx bounds the start.
func Try(ctx context.Context, path, mode string, output io.Writer) (_ *Trial, err error) {
	t := &Trial{path: path}
	if t.SHA256, err = catalogue.Checksum(path); err != nil {
		return nil, fmt.Errorf("open plugin: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.sockets, err = OpenSockets(""); err != nil {
		return nil, err
	}
	sum, err := hex.DecodeString(t.SHA256)
	if err != nil {
		return nil, fmt.Errorf("hash plugin: %w", err)
	}
	if t.image, err = loadImage(path, sum, t.sockets.path); err != nil {
		return nil, err
	}
	spec := sandbox.Spec{Name: processPrefix + filepath.Base(path), Libraries: t.image.dynamic, Require: mode != sandbox.ModeBestEffort, Limits: sandbox.DefaultLimits}
	c := &Config{Sockets: t.sockets, Deadline: DefaultDeadline, MaxFile: DefaultMaxFile, Log: slog.New(slog.DiscardHandler), output: output}
	if t.in, err = startInstance(ctx, t.image, spec, c); err != nil {
		if s, ok := errors.AsType[*startError](err); ok {
			err = fmt.Errorf("%w: %s", err, declaration.Printable(s.detail.Error(), maxOutputLine))
		}
		return nil, err
	}
	return t, nil
}

// Close ends the plugin and waits until nothing of it is left. All that the plugin
// wrote has then been written to the output.
func (t *Trial) Close() error {
	var errs []error
	if t.in != nil {
		t.in.end()
	}
	if t.image != nil {
		errs = append(errs, t.image.close())
	}
	if t.sockets != nil {
		errs = append(errs, t.sockets.Close())
	}
	return errors.Join(errs...)
}

// Description returns what the plugin declares, unchecked.
func (t *Trial) Description() *pluginv1.DescribeResponse { return t.in.description }

// Version returns the version that the plugin declares, made printable.
func (t *Trial) Version() string {
	return declaration.Printable(t.Description().GetVersion(), declaration.MaxVersion)
}

// Candidate returns the plugin in the form in which a catalogue adds it.
func (t *Trial) Candidate() catalogue.Candidate {
	return catalogue.Candidate{Path: t.path, SHA256: t.SHA256, Description: t.Description()}
}

// Dynamic reports whether the binary needs the system's libraries to start.
func (t *Trial) Dynamic() bool { return t.image.dynamic }

// Sandbox returns what confines the plugin.
func (t *Trial) Sandbox() engine.Sandbox {
	report := t.in.process.report
	return engine.Sandbox{Enforced: slices.Clone(report.Enforced), Missing: slices.Clone(report.Missing)}
}

// Render has the plugin make one file of a format that it declares, from the files
// of included formats. The error is the plugin's own, with a code of package
// google.golang.org/grpc/codes.
func (t *Trial) Render(ctx context.Context, f *pluginv1.Format, job engine.RenderJob, files map[string][]byte) ([]byte, error) {
	request := NewRequest(f, job, job.Options)
	for name, content := range files {
		request.Files = append(request.Files, &pluginv1.File{Filename: name, Content: content})
	}
	answer, err := t.in.render(ctx, request)
	return answer.GetContent(), err
}

// ExitReason returns why the plugin's process ended, or "" while it runs.
func (t *Trial) ExitReason() string {
	if !t.in.ended() {
		return ""
	}
	return cmp.Or(t.in.exitReason(), "it was ended")
}

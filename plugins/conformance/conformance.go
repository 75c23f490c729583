// Package conformance runs a format plugin as a host would, and checks the rules
// that hosts and callers rely on. The plugin may be written by anybody, in any
// language. Start with [Run]; checks.go has the checks in order.
//
// The suite makes its own keys, so it may show output that a host would withhold. A
// format that includes formats of other plugins receives substitutes with the right
// file names.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// Options say what to check. Only Binary has no working zero value.
type Options struct {
	// Binary is the plugin's path.
	Binary string
	// Key and Passphrase grant each to the formats that need it. Formats that need
	// what is not granted are skipped.
	Key, Passphrase bool
	// Sandbox is sandbox.ModeBestEffort to run a plugin that this system cannot
	// fully confine. Default: sandbox.ModeRequire.
	Sandbox string
	// Format is the id of the only format to check. Default: all.
	Format string
	// Deadline bounds one render. Default: runtime.DefaultDeadline.
	Deadline time.Duration
}

// The outcomes of a check.
const (
	Pass = "pass"
	Fail = "fail"
	Skip = "skip" // the check does not apply; the detail says why
)

// Result is the result of one check. Format is empty if the check concerns the whole
// plugin. Detail may quote the plugin.
type Result struct {
	Check   string `json:"check"`
	Format  string `json:"format"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
}

// Report has the results of a run.
type Report struct {
	Binary  string   `json:"binary"`
	Version string   `json:"version"`
	SHA256  string   `json:"sha256"`
	Passed  bool     `json:"passed"`
	Results []Result `json:"results"`
}

// Run checks the plugin. Faults of the plugin are in the report. Run fails if it
// cannot check: the file or the format does not exist, ctx ends, or the plugin may not
// run on this system (sandbox.ErrUnconfined).
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Deadline == 0 {
		o.Deadline = runtime.DefaultDeadline
	}
	sum, err := catalogue.Checksum(o.Binary)
	if err != nil {
		return Report{}, fmt.Errorf("open plugin: %w", err)
	}
	jobs, err := makeJobs()
	if err != nil {
		return Report{}, fmt.Errorf("make jobs for the checks: %w", err)
	}
	s := &suite{Options: o, jobs: jobs, report: Report{Binary: o.Binary, SHA256: sum, Passed: true}}
	defer s.stop()
	if err := s.run(ctx); err != nil {
		return Report{}, err
	}
	return s.report, context.Cause(ctx)
}

// suite is one run.
type suite struct {
	Options
	jobs   []sdk.Job
	trial  *runtime.Trial // nil unless it runs
	output outputs
	secret secrets // all that the plugin has received
	report Report
	// formats are those that it declared at its first start.
	formats []*pluginv1.Format
	// rendering are the formats that render.
	rendering []*formatCheck
}

func (s *suite) run(ctx context.Context) error {
	err := s.start(ctx)
	if errors.Is(err, sandbox.ErrUnconfined) {
		return err
	}
	s.record("start", "", err, "it runs and describes its formats")
	if err != nil {
		return nil //nolint:nilerr // the error is in the report
	}
	s.report.Version, s.formats = s.trial.Version(), s.trial.Description().GetFormats()
	err = s.description(ctx)
	s.record("description", "", err, fmt.Sprintf("%d formats, the same at a second start", len(s.formats)))
	s.confinement()
	if err != nil {
		return nil //nolint:nilerr // the error is in the report, and the formats are not reliable
	}
	if s.Format != "" && s.declared(s.Format) == nil {
		return fmt.Errorf("the plugin has no format %q", s.Format)
	}
	for _, f := range s.formats {
		if s.Format == "" || s.Format == f.GetId() {
			s.format(ctx, f)
		}
	}
	for _, t := range s.rendering { // the plugin has received every secret by now
		t.run(ctx, check{"secrets in file", t.secretsInFile})
	}
	s.stop() // all output has arrived then
	s.record("secrets in output", "", s.secret.findIn(s.output.all(), nil), "neither its output nor its errors contain a key or passphrase")
	return nil
}

// declared returns a format of the plugin, or nil if the plugin does not declare it.
func (s *suite) declared(id string) *pluginv1.Format {
	for _, f := range s.formats {
		if f.GetId() == id {
			return f
		}
	}
	return nil
}

// record puts a check into the report, as failed if there is an error.
func (s *suite) record(check, format string, err error, detail string) {
	outcome := Pass
	if err != nil {
		outcome, detail, s.report.Passed = Fail, short(printable(err.Error())), false
	}
	s.report.Results = append(s.report.Results, Result{check, format, outcome, detail})
}

func (s *suite) skip(check, format, why string) {
	s.report.Results = append(s.report.Results, Result{check, format, Skip, why})
}

const maxDetail = 300 // bytes

func short(text string) string {
	if len(text) > maxDetail {
		return text[:maxDetail] + "…"
	}
	return text
}

// start starts the plugin unless it runs. If the plugin has ended by itself, that is
// an error.
func (s *suite) start(ctx context.Context) (err error) {
	if s.trial != nil {
		return s.ended()
	}
	s.trial, err = s.launch(ctx)
	return err
}

// launch starts the plugin once more. It fails if another binary is at its path now,
// because the report names the checksum of the first.
func (s *suite) launch(ctx context.Context) (*runtime.Trial, error) {
	trial, err := runtime.Try(ctx, s.Binary, s.Sandbox, &s.output)
	if err == nil && trial.SHA256 != s.report.SHA256 {
		_ = trial.Close() // a folder that cannot be removed is not a fault of the plugin
		return nil, errors.New("its binary was replaced during the run")
	}
	return trial, err
}

// ended returns an error if the plugin's process has ended.
func (s *suite) ended() error {
	if s.trial == nil {
		return nil
	}
	if reason := s.trial.ExitReason(); reason != "" {
		return fmt.Errorf("the plugin ended: %s", reason)
	}
	return nil
}

func (s *suite) stop() {
	if s.trial != nil {
		_ = s.trial.Close() // a folder that cannot be removed is not a fault of the plugin
		s.trial = nil
	}
}

// outputs keeps what the plugin writes and answers, up to maxOutput bytes.
type outputs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxOutput = 64 << 20

// Write implements io.Writer.
func (o *outputs) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(text[:min(len(text), maxOutput-o.text.Len())])
	return len(text), nil
}

func (o *outputs) all() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

// renderJob returns a job in the form in which a host receives it.
func renderJob(j sdk.Job) engine.RenderJob {
	return engine.RenderJob{
		Name: j.Name, Leaf: j.Leaf, Chain: j.Chain, PrivateKey: j.PrivateKey,
		Passphrase: engine.Secret(j.Passphrase), Options: string(j.Options),
	}
}

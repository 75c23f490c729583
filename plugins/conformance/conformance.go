// Package conformance tries a format plugin, whoever wrote it and in whatever
// language, as the host would run it, and says what it keeps of what the host
// and callers rely on. Start with [Run]; checks.go has the checks in order.
//
// The keys are made for the occasion, so the suite may show what a host would
// withhold. What belongs to other plugins is stood in for: a format that includes
// theirs gets files of the right names.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/host"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// Options say what to try. Only Binary has no working zero value.
type Options struct {
	// Binary is the plugin's path.
	Binary string
	// Key and Passphrase grant what formats declare a need for; those that need
	// what is not granted are skipped.
	Key, Passphrase bool
	// Sandbox says whether to try a plugin that this system cannot confine whole:
	// host.SandboxBestEffort. Default: host.SandboxRequire.
	Sandbox string
	// Format is the only one to try, by id. Default: all.
	Format string
	// Deadline bounds one render. Default: host.DefaultDeadline.
	Deadline time.Duration
}

// The outcomes of a check.
const (
	Pass = "pass"
	Fail = "fail"
	Skip = "skip" // it does not apply, and the detail says why
)

// Result is what became of one check. Format is empty where the check is of the
// plugin. Detail may quote the plugin.
type Result struct {
	Check   string `json:"check"`
	Format  string `json:"format"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
}

// Report is all that a run found out.
type Report struct {
	Binary  string   `json:"binary"`
	Version string   `json:"version"`
	SHA256  string   `json:"sha256"`
	Passed  bool     `json:"passed"`
	Results []Result `json:"results"`
}

// Run tries the plugin. It fails when there is nothing to try: no such file, no
// such format, an end of ctx, or with host.ErrUnconfined a plugin that is not to be
// run here. What is wrong with the plugin is in the report.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Deadline == 0 {
		o.Deadline = host.DefaultDeadline
	}
	sum, err := host.Checksum(o.Binary)
	if err != nil {
		return Report{}, fmt.Errorf("open plugin: %w", err)
	}
	jobs, err := makeJobs()
	if err != nil {
		return Report{}, fmt.Errorf("make jobs to try the plugin with: %w", err)
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
	trial  *host.Trial // nil unless it runs
	heard  heard
	secret secrets // all that the plugin was given
	report Report
	// formats are what it declared at its first start.
	formats []*pluginv1.Format
	// rendering are the formats that do.
	rendering []*trying
}

func (s *suite) run(ctx context.Context) error {
	err := s.start(ctx)
	if errors.Is(err, host.ErrUnconfined) {
		return err
	}
	s.note("start", "", err, "it runs and says what it renders")
	if err != nil {
		return nil //nolint:nilerr // it is in the report
	}
	s.report.Version, s.formats = s.trial.Version(), s.trial.Formats()
	err = s.description(ctx)
	s.note("description", "", err, fmt.Sprintf("%d formats, the same at a second start", len(s.formats)))
	s.confinement()
	if err != nil {
		return nil //nolint:nilerr // it is in the report, and the formats cannot be relied on
	}
	if s.Format != "" && s.declared(s.Format) == nil {
		return fmt.Errorf("the plugin has no format %q", s.Format)
	}
	for _, f := range s.formats {
		if s.Format == "" || s.Format == f.GetId() {
			s.format(ctx, f)
		}
	}
	for _, t := range s.rendering { // by now the plugin has seen every secret
		t.try(ctx, check{"secrets in file", t.secretsInFile})
	}
	s.stop() // everything is heard that it said
	s.note("secrets in output", "", s.secret.lookIn(s.heard.all(), nil), "neither its output nor its errors tell a key or passphrase")
	return nil
}

// declared finds a format of the plugin, nil if it is another's.
func (s *suite) declared(id string) *pluginv1.Format {
	for _, f := range s.formats {
		if f.GetId() == id {
			return f
		}
	}
	return nil
}

// note puts a check into the report: as failed if there is an error.
func (s *suite) note(check, format string, err error, detail string) {
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

// start makes sure that the plugin runs. It does not hide that one has ended by
// itself.
func (s *suite) start(ctx context.Context) (err error) {
	if s.trial != nil {
		return s.ended()
	}
	s.trial, err = s.launch(ctx)
	return err
}

// launch starts the plugin once more. It must be the one that the report is about,
// whatever lies at its path by now.
func (s *suite) launch(ctx context.Context) (*host.Trial, error) {
	trial, err := host.Try(ctx, s.Binary, s.Sandbox, &s.heard)
	if err == nil && trial.SHA256 != s.report.SHA256 {
		_ = trial.Close() // a folder that cannot be removed says nothing of the plugin
		return nil, errors.New("its binary has changed meanwhile")
	}
	return trial, err
}

// ended is an error if the plugin's process is gone.
func (s *suite) ended() error {
	if s.trial == nil {
		return nil
	}
	if fate := s.trial.Fate(); fate != "" {
		return fmt.Errorf("the plugin ended: %s", fate)
	}
	return nil
}

func (s *suite) stop() {
	if s.trial != nil {
		_ = s.trial.Close() // a folder that cannot be removed says nothing of the plugin
		s.trial = nil
	}
}

// heard keeps what the plugin says, up to a bound.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxHeard = 64 << 20

// Write implements io.Writer.
func (h *heard) Write(text []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.Write(text[:min(len(text), maxHeard-h.text.Len())])
	return len(text), nil
}

func (h *heard) all() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(h.text.Bytes())
}

// asked is a job as the host gets it.
func asked(j sdk.Job) engine.RenderJob {
	return engine.RenderJob{
		Name: j.Name, Leaf: j.Leaf, Chain: j.Chain, PrivateKey: j.PrivateKey,
		Passphrase: engine.Secret(j.Passphrase), Options: string(j.Options),
	}
}

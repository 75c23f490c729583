package policies

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// retryAfter is when a revision that was refused is tried again as it is: what
// ran out of time on a busy machine may not another time.
const retryAfter = time.Minute

// watcher keeps an Evaluator at the newest good revision of a directory.
type watcher struct {
	Options
	evaluator *Evaluator
	failing   prometheus.Gauge
	reloads   *prometheus.CounterVec

	seen    string // the revision last seen, or why there was none
	tried   string // the same of the last try
	triedAt time.Time
	busy    <-chan struct{} // closed when nothing of the last try runs any more
}

// watch puts the directory in force and follows it until Close.
func (e *Evaluator) watch(ctx context.Context, o Options) error {
	w, err := newWatcher(e, o)
	if err != nil {
		return err
	}
	if err := w.look(ctx); errors.Is(err, errNoRules) {
		return fmt.Errorf("policies.dir: %w; to run by the built-in rules alone, unset policies.dir", err)
	} else if err != nil {
		return fmt.Errorf("policy directory %s: %w", o.Dir, err)
	}
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() { w.run(watching) })
	e.stop = func() { cancel(); ended.Wait() }
	return nil
}

func newWatcher(e *Evaluator, o Options) (*watcher, error) {
	w := &watcher{
		Options: o, evaluator: e,
		failing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "countersign_policy_reload_failing", Help: "1 while the policy directory holds what cannot be put in force, else 0.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_policy_reloads_total", Help: "Revisions of the policy directory, by outcome: loaded or refused.",
		}, []string{"outcome"}),
	}
	if o.Metrics == nil {
		return w, nil
	}
	for _, c := range []prometheus.Collector{w.failing, w.reloads} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return w, nil
}

func (w *watcher) run(ctx context.Context) {
	ticker := time.NewTicker(w.Poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = w.look(ctx) // logged, counted and shown
		}
	}
}

// look tries what the directory holds, unless it has been tried already. After
// the first time it wants to see a change twice, so that one of several files or
// of a slow writer is over: half of it could be looser than before and after.
func (w *watcher) look(ctx context.Context) error {
	select {
	case <-w.busy:
	default:
		if w.busy != nil {
			return nil // still compiling what was given up
		}
	}
	files, err := readDirectory(w.Dir)
	candidate := revision(files)
	if err != nil {
		candidate = err.Error()
	}
	if w.tried != "" && candidate != w.seen {
		w.seen = candidate
		return nil
	}
	first := candidate != w.tried
	if now := w.Clock(); first || w.evaluator.refusing() && now.Sub(w.triedAt) >= retryAfter {
		w.tried, w.triedAt = candidate, now
	} else {
		return nil
	}
	var rules *ruleset
	if err == nil {
		var report Report
		rules, report, w.busy = try(ctx, w.evaluator.limits, files)
		err = report.Err()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		w.refuse(ctx, err, first)
	default:
		w.load(ctx, rules, len(files))
	}
	return err
}

func (w *watcher) load(ctx context.Context, rules *ruleset, files int) {
	w.evaluator.current.Store(&state{ruleset: rules, loadedAt: w.Clock()})
	w.failing.Set(0)
	w.reloads.WithLabelValues("loaded").Inc()
	w.Log.InfoContext(ctx, "policy rules are in force", "revision", rules.revision, "files", files)
}

// refuse leaves the last good revision in force, if there is one, and says so
// once.
func (w *watcher) refuse(ctx context.Context, err error, first bool) {
	last := w.evaluator.current.Load()
	if last == nil {
		return // Open says it
	}
	w.evaluator.current.Store(&state{ruleset: last.ruleset, loadedAt: last.loadedAt, problem: w.shown(err)})
	w.failing.Set(1)
	if first {
		w.reloads.WithLabelValues("refused").Inc()
		w.Log.ErrorContext(ctx, "the policy directory cannot be put in force; the last good rules decide",
			"revision", last.revision, "error", err)
	}
}

// refusing tells whether the directory holds what cannot be put in force.
func (e *Evaluator) refusing() bool {
	s := e.current.Load()
	return s != nil && s.problem != ""
}

// shown is an error as everybody may read it who asks for readiness: short, and
// without the place of the directory on this machine.
func (w *watcher) shown(err error) string {
	const longest = 500
	text := strings.ReplaceAll(err.Error(), w.Dir, "policies.dir")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

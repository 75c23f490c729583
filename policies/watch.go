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

// retryAfter is the time after which an invalid revision is checked again. A check
// that took too long on a busy machine may succeed then.
const retryAfter = time.Minute

// watcher loads the newest valid revision of a directory into an Evaluator.
type watcher struct {
	Options
	evaluator *Evaluator
	failing   prometheus.Gauge
	reloads   *prometheus.CounterVec

	lastSeen    string // the revision last seen, or the error of reading it
	lastTried   string // the same of the last check
	lastTriedAt time.Time
	running     <-chan struct{} // closed when the last check has ended
}

// watch loads the directory and follows it until Close.
func (e *Evaluator) watch(ctx context.Context, o Options) error {
	w, err := newWatcher(e, o)
	if err != nil {
		return err
	}
	if err := w.check(ctx); errors.Is(err, errNoRules) {
		return fmt.Errorf("policies.dir: %w; to use the built-in rules alone, unset policies.dir", err)
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
			Name: "countersign_policy_reload_failing", Help: "1 while the policy directory cannot be loaded, else 0.",
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
	ticker := time.NewTicker(w.poll)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = w.check(ctx) // logged, counted and shown
		}
	}
}

// check loads the directory, unless it has checked the same revision already. After
// the first time it waits until a change was seen twice, because half of a change
// could be less strict than the old and the new rules.
func (w *watcher) check(ctx context.Context) error {
	select {
	case <-w.running:
	default:
		if w.running != nil {
			return nil // a check that timed out is still compiling
		}
	}
	files, err := readDirectory(w.Dir)
	if err == nil {
		err = checkAccess(w.Dir, files)
	}
	candidate := revision(files)
	if err != nil {
		candidate = err.Error()
	}
	if w.lastTried != "" && candidate != w.lastSeen {
		w.lastSeen = candidate
		return nil
	}
	first := candidate != w.lastTried
	if now := w.Clock(); first || w.evaluator.hasProblem() && now.Sub(w.lastTriedAt) >= retryAfter {
		w.lastTried, w.lastTriedAt = candidate, now
	} else {
		return nil
	}
	var rules *ruleset
	if err == nil {
		var report Report
		rules, report, w.running = checkWithin(ctx, w.evaluator.limits, files)
		err = report.Err()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		w.reject(ctx, err, first)
	default:
		w.load(ctx, rules, len(files))
	}
	return err
}

func (w *watcher) load(ctx context.Context, rules *ruleset, files int) {
	w.evaluator.current.Store(&state{ruleset: rules, loadedAt: w.Clock()})
	w.failing.Set(0)
	w.reloads.WithLabelValues("loaded").Inc()
	w.Log.InfoContext(ctx, "policy rules are loaded", "revision", rules.revision, "files", files)
}

// reject keeps the last valid revision active, if there is one, and logs each
// problem once.
func (w *watcher) reject(ctx context.Context, err error, first bool) {
	last := w.evaluator.current.Load()
	if last == nil {
		return // Open returns the error
	}
	w.evaluator.current.Store(&state{ruleset: last.ruleset, loadedAt: last.loadedAt, problem: w.publicText(err)})
	w.failing.Set(1)
	if first {
		w.reloads.WithLabelValues("refused").Inc()
		w.Log.ErrorContext(ctx, "the policy directory is invalid; the last valid revision stays active until it is corrected",
			"revision", last.revision, "error", err)
	}
}

// hasProblem reports whether the directory could not be loaded.
func (e *Evaluator) hasProblem() bool {
	s := e.current.Load()
	return s != nil && s.problem != ""
}

// publicText is an error for everybody who may read /readyz: short, and without the
// path of the directory.
func (w *watcher) publicText(err error) string {
	const limit = 500
	text := strings.ReplaceAll(err.Error(), w.Dir, "policies.dir")
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return text
}

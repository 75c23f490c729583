package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/countersign-dev/countersign/engine"
)

// load is what an endpoint takes of the server. Each kind has a lane of its own, so that
// many calls of one kind do not hold up the others.
type load int

const (
	ordinary load = iota
	minting       // a workflow decides
	redeeming
	unlimited // probes, and verifications, which have a limit of their own
)

// limit ends the context of a call in time for an answer within engine.AnswerWithin.
// What follows the handler, such as a stream, an export's later pages and the bytes of a
// file, has limits of its own.
func (l load) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if l == unlimited {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, engine.AnswerWithin-engine.FinishWithin)
}

const (
	// maxWait is how long a call waits for others of its kind to end.
	maxWait = 2 * time.Second
	// waitingPerRunning is how many calls may wait for each one that may run.
	waitingPerRunning = 2
	// slowAfter is how long a call of a lane that adapts may run before it counts as slow.
	slowAfter = engine.AnswerWithin / 2
	// leastWidth is the width below which no lane becomes narrower.
	leastWidth = 4
)

// lane bounds how many calls of a kind run and wait. Beyond its bounds a call is refused
// at once, because the server would do the work only after the caller has given up. A nil
// lane admits every call.
//
// A lane that adapts finds out how many calls the server can do at once: each slow call
// makes it narrower by one, and as many quick ones as it is wide make it wider by one, up
// to its setting. A call that did not do its work is not a quick one. Without this, more
// callers than Temporal and the store can serve would all be answered too late, and none
// in time.
type lane struct {
	running *semaphore.Weighted
	inside  atomic.Int64 // running and waiting
	refused prometheus.Counter
	warn    func(narrowed bool) // that a call was refused
	clock   engine.Clock

	adapts bool
	most   int64
	mu     sync.Mutex
	width  int64 // how many may run
	quick  int64 // calls since it became as wide as it is
}

func newLanes(o Options, log *slog.Logger) (map[load]*lane, error) {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "countersign_calls_refused_total", Help: "Calls answered 503 because too many of their kind were under way, by kind: mint, redeem or other.",
	}, []string{"kind"})
	if err := o.Registry.Register(refused); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	lanes := map[load]*lane{}
	var errs []error
	add := func(l load, kind string, most int) {
		lanes[l] = &lane{
			running: semaphore.NewWeighted(int64(most)), refused: refused.WithLabelValues(kind),
			clock: o.Clock, adapts: l == minting, most: int64(most), width: int64(most), warn: warner(log, kind),
		}
		show := func(name, help string, value func() int64) {
			errs = append(errs, o.Registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: name, Help: help, ConstLabels: prometheus.Labels{"kind": kind},
			}, func() float64 { return float64(value()) })))
		}
		show("countersign_calls_allowed", "Calls of each kind that may be under way at once: those of the settings, or fewer mints while they are slow.", lanes[l].allowed)
		show("countersign_calls_waiting", "Calls of each kind that wait for others of their kind to end.", lanes[l].waiting)
	}
	add(minting, "mint", cmp.Or(o.Mints, 64))
	add(redeeming, "redeem", cmp.Or(o.Redemptions, 64))
	add(ordinary, "other", cmp.Or(o.Calls, 256))
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return lanes, nil
}

// warner returns a function that logs, once a minute at most, why calls are refused.
func warner(log *slog.Logger, kind string) func(narrowed bool) {
	sometimes := &rate.Sometimes{First: 1, Interval: time.Minute}
	return func(narrowed bool) {
		text := "calls are refused: too many are under way; see limits.mints, limits.redemptions and limits.calls"
		if narrowed {
			text = fmt.Sprintf("calls are refused: mints take more than %v, so fewer may be under way than limits.mints says; Temporal or the database is slow", slowAfter)
		}
		sometimes.Do(func() { log.Warn(text, "kind", kind) })
	}
}

// allowed is how many calls may run.
func (l *lane) allowed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.width
}

// waiting is how many calls wait for others to end.
func (l *lane) waiting() int64 { return max(0, l.inside.Load()-l.allowed()) }

// enter waits until the call may run. The caller must call leave when it has ended, and say
// whether it did its work.
func (l *lane) enter(ctx context.Context) (leave func(done bool), err error) {
	if l == nil {
		return func(bool) {}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if l.inside.Add(1) > l.allowed()*(1+waitingPerRunning) || l.running.Acquire(ctx, 1) != nil {
		l.inside.Add(-1)
		l.refused.Inc()
		l.warn(l.allowed() < l.most)
		return nil, engine.Errorf(engine.CodeUnavailable, "the server has too many calls of this kind under way; nothing was done; try again in a moment")
	}
	began := l.clock()
	return func(done bool) {
		l.running.Release(l.freed(l.clock().Sub(began), done))
		l.inside.Add(-1)
	}, nil
}

// freed is how many calls may run instead of one that has ended.
func (l *lane) freed(took time.Duration, done bool) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.adapts:
		return 1
	case took > slowAfter:
		l.quick = 0
		if l.width > leastWidth {
			l.width--
			return 0
		}
		return 1
	case !done:
		return 1
	}
	if l.quick++; l.quick >= l.width && l.width < l.most {
		l.quick = 0
		l.width++
		return 2
	}
	return 1
}

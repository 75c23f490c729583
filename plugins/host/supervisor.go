package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// The states of a plugin.
const (
	StateStarting    = "starting"
	StateRunning     = "running"
	StateRestarting  = "restarting"
	StateQuarantined = "quarantined"
	StateDisabled    = "disabled"
)

// How a plugin that ends is started again: at once, then after firstDelay,
// doubled up to maxDelay. A process that lived for calmAfter starts the delays
// anew. After maxFailures in a row, with no render between, it stays down.
const (
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 5 * time.Second
	calmAfter   = time.Minute
	maxFailures = 5
)

// errClosed is what a render gets from a plugin that is being taken down.
var errClosed = errors.New("the plugin is shut down")

// supervisor keeps one plugin of the catalogue running:
//
//  1. launch verifies the binary, starts it and checks what it declares; a
//     plugin that fails here is disabled;
//  2. supervise waits for the process to end, asks it meanwhile whether it still
//     answers, ends it when it does not, and starts it again;
//  3. acquire gives renders the running process, or waits for it;
//  4. stop ends the process for good.
type supervisor struct {
	entry       entry
	settings    *settings
	image       *image
	box         sandbox.Spec
	description *pluginv1.DescribeResponse // what the first start declared
	slots       *slots

	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{} // closed when supervise has returned

	mu       sync.Mutex
	state    string
	detail   string
	fate     string         // how the process before this one ended, unless that is long ago
	report   sandbox.Report // of the last process that ran
	current  *instance
	failures int           // in a row
	changed  chan struct{} // closed at the next change of state
	renders  int           // under way
	retired  bool          // replaced or removed
	unused   chan struct{} // closed when it is retired and the last render is over
}

// launch starts the plugin. Whatever is wrong with it ends up in its state.
// ctx bounds the start; life, the plugin's whole life.
func launch(ctx, life context.Context, e entry, s *settings) *supervisor {
	v := &supervisor{entry: e, settings: s, state: StateStarting, ended: make(chan struct{}), changed: make(chan struct{}), unused: make(chan struct{})}
	v.ctx, v.cancel = context.WithCancel(life)
	v.slots = newSlots(cmp.Or(e.Limits.Concurrency, s.slots), s.waiting)
	first, err := v.firstStart(ctx)
	if err != nil {
		close(v.ended)
		if _, ok := errors.AsType[*unfit](err); ok {
			s.log.Warn("plugin did not start", "plugin", e.Name, "error", known(err))
		}
		v.disable(err.Error())
		return v
	}
	v.set(StateRunning, "", first)
	go v.supervise(first)
	return v
}

func (v *supervisor) firstStart(ctx context.Context) (*instance, error) {
	path, sum, err := v.entry.binary(filepath.Dir(v.settings.catalogue))
	if err != nil {
		return nil, err
	}
	limits, err := v.entry.Limits.Within(sandbox.DefaultLimits)
	if err != nil {
		return nil, err
	}
	if n := v.entry.Limits.Concurrency; n < 0 || n > maxConcurrency {
		return nil, fmt.Errorf("its limit concurrency in the catalogue is %d; it must be from 1 to %d", n, maxConcurrency)
	}
	if v.image, err = loadImage(path, sum, v.settings.sockets.path); err != nil {
		return nil, err
	}
	v.box = sandbox.Spec{Name: processPrefix + v.entry.Name, Libraries: v.image.libraries, Require: v.settings.sandbox == SandboxRequire, Limits: limits}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)() //nolint:contextcheck // the end of the plugin's life ends its start, too
	first, err := startInstance(ctx, v.image, v.box, v.settings)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(first.description, v.entry); err != nil {
		first.end()
		return nil, err
	}
	v.description = first.description
	if missing := first.process.report.Missing; len(missing) > 0 {
		v.settings.log.Warn("plugin is not confined whole, and runs nevertheless", "plugin", v.entry.Name, "missing", missing)
	}
	return first, nil
}

// supervise lives as long as the plugin is to run.
func (v *supervisor) supervise(current *instance) {
	defer close(v.ended)
	streak := 0 // ends of the process since it last was calm
	for {
		if v.outlived(current) {
			streak = 0
		}
		current.end()
		v.mourn(current.fate())
		for current = nil; current == nil; {
			if v.ctx.Err() != nil || !v.mayRestart(streak) {
				return
			}
			streak++
			v.settings.metrics.restarts.WithLabelValues(v.entry.Name).Inc()
			current = v.restart()
		}
	}
}

// outlived waits for the end of the process, or of the supervision, and tells
// whether the process was calm before it.
func (v *supervisor) outlived(current *instance) (calm bool) {
	timer := time.NewTimer(calmAfter)
	defer timer.Stop()
	check := time.NewTicker(v.settings.health.every)
	defer check.Stop()
	for health := (pulse{}); ; {
		select {
		case <-check.C:
			if health.check(v.ctx, current, v.settings.health.within) {
				current.process.condemn(unresponsive)
			}
		case <-timer.C:
			calm = true
			v.mourn("")
		case <-current.process.exited:
			return calm
		case <-v.ctx.Done():
			return calm
		}
	}
}

// mayRestart counts one more failure and waits until the next start is due, or
// quarantines the plugin.
func (v *supervisor) mayRestart(streak int) bool {
	v.mu.Lock()
	v.failures++
	failures, fate := v.failures, v.fate
	v.mu.Unlock()
	if failures >= maxFailures {
		v.set(StateQuarantined, fmt.Sprintf("it failed %d times in a row; reload it once the cause is gone", failures), nil)
		v.settings.log.Error("plugin quarantined", "plugin", v.entry.Name, "failures", failures, "reason", fate)
		return false
	}
	delay := restartDelay(streak)
	v.set(StateRestarting, "", nil)
	v.settings.log.Warn("plugin ended; it is started again", "plugin", v.entry.Name, "reason", fate, "failures", failures, "delay", delay)
	select {
	case <-time.After(delay):
		return true
	case <-v.ctx.Done():
		return false
	}
}

// restartDelay is how long to wait after streak restarts in a short time.
func restartDelay(streak int) time.Duration {
	if streak == 0 {
		return 0
	}
	return min(firstDelay<<min(streak-1, 16), maxDelay)
}

func (v *supervisor) restart() *instance {
	next, err := startInstance(v.ctx, v.image, v.box, v.settings)
	if err == nil && !proto.Equal(next.description, v.description) {
		next.end()
		err = errors.New("it declares other formats than at its first start")
	}
	if err != nil {
		v.settings.log.Warn("plugin did not start", "plugin", v.entry.Name, "error", known(err))
		v.mourn(err.Error())
		return nil
	}
	v.set(StateRunning, "", next)
	return next
}

// set changes the state and wakes those who wait for that.
func (v *supervisor) set(state, detail string, current *instance) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state, v.detail, v.current = state, printable(detail, maxOutputLine), current
	if current != nil {
		v.report = current.process.report
	}
	close(v.changed)
	v.changed = make(chan struct{})
}

// mourn notes how a process ended.
func (v *supervisor) mourn(fate string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fate = printable(fate, maxOutputLine)
}

// acquire returns the running process. While the plugin is being started again
// it waits, as long as ctx lasts.
func (v *supervisor) acquire(ctx context.Context) (*instance, error) {
	for {
		v.mu.Lock()
		state, detail, current, changed := v.state, v.detail, v.current, v.changed
		v.mu.Unlock()
		switch {
		case v.ctx.Err() != nil:
			return nil, errClosed
		case state == StateQuarantined, state == StateDisabled:
			return nil, fmt.Errorf("the plugin is %s: %s", state, detail)
		case current != nil && !current.gone():
			return current, nil
		}
		select {
		case <-changed:
		case <-v.ctx.Done():
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for plugin: %w", context.Cause(ctx))
		}
	}
}

// succeeded notes a render: failures before it no longer count.
func (v *supervisor) succeeded(in *instance) {
	in.answered.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = 0
}

// disable stops the plugin and says why.
func (v *supervisor) disable(reason string) {
	v.stop()
	v.set(StateDisabled, reason, nil)
	v.settings.log.Error("plugin disabled", "plugin", v.entry.Name, "reason", printable(reason, maxOutputLine))
}

// stop ends the plugin for good and waits until nothing of it is left.
func (v *supervisor) stop() {
	v.cancel()
	<-v.ended
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.image != nil {
		if err := v.image.close(); err != nil {
			v.settings.log.Warn("plugin's image was not freed", "plugin", v.entry.Name, "error", err)
		}
		v.image = nil
	}
}

// usable tells whether the plugin takes part in rendering, now or again.
func (v *supervisor) usable() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state != StateDisabled
}

// serving tells whether renders can go on with the plugin as it is.
func (v *supervisor) serving() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state == StateRunning || v.state == StateRestarting
}

// note leaves a remark on a plugin that goes on as it is.
func (v *supervisor) note(remark string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.detail = printable(remark, maxOutputLine)
}

// shown is the plugin's state for everybody else, without its formats.
func (v *supervisor) shown() engine.PluginState {
	v.mu.Lock()
	defer v.mu.Unlock()
	detail := v.detail
	if v.fate != "" {
		detail = strings.TrimPrefix(detail+"; the last process ended: "+v.fate, "; ")
	}
	return engine.PluginState{
		Name: v.entry.Name, Version: v.description.GetVersion(), SHA256: v.entry.SHA256,
		State: v.state, Detail: detail,
		Sandbox: engine.Sandbox{Enforced: slices.Clone(v.report.Enforced), Missing: slices.Clone(v.report.Missing)},
	}
}

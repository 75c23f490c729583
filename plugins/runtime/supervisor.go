// Package runtime keeps the processes of plugins running. Start with supervisor.go,
// which starts a plugin, restarts it after a crash and takes it out of service after
// too many; process.go is one run of a plugin, confined by package sandbox, and
// render.go asks a running plugin for a file. [Try] runs a plugin that no catalogue
// lists.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/declaration"
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

// A plugin whose process ends is started again at once, then after firstDelay,
// which doubles up to maxDelay. A process that lives for stableAfter resets the
// delay. After maxFailures in a row, without a render between them, the plugin is
// quarantined.
const (
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 5 * time.Second
	stableAfter = time.Minute
	maxFailures = 5
)

var errStopped = errors.New("the plugin is shut down")

// Config is what the plugins of one host share. All fields are required but
// OnRestart and Health.
type Config struct {
	// Folder is that of the catalogue, in which the binaries are.
	Folder  string
	Sockets *Sockets
	// Deadline bounds one render.
	Deadline time.Duration
	// MaxFile is the largest rendered file, in bytes.
	MaxFile int
	// Sandbox is sandbox.ModeRequire or sandbox.ModeBestEffort.
	Sandbox string
	Log     *slog.Logger
	// OnRestart is called when a plugin is started again after its process ended.
	OnRestart func(plugin string)
	// Health is how often the processes are checked. The zero value is the default.
	Health Health

	output io.Writer // receives all that plugins write, if it is not nil
}

// Plugin keeps one plugin of the catalogue running:
//
//  1. Start verifies the binary, starts it and checks what it declares; a plugin
//     that fails here is disabled;
//  2. supervise waits for the process to end, checks its health meanwhile, and
//     starts it again;
//  3. Render uses the running process, or waits for it;
//  4. Stop ends the process permanently.
type Plugin struct {
	// Entry is what the catalogue lists.
	Entry catalogue.Entry

	config      *Config
	image       *image
	spec        sandbox.Spec
	description *pluginv1.DescribeResponse // what the first start declared

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when supervise has returned

	mu       sync.Mutex
	state    string
	detail   string
	lastExit string         // why the previous process ended, unless that is long ago
	report   sandbox.Report // of the last process that ran
	current  *instance
	failures int           // in a row
	changed  chan struct{} // closed at the next change of state
}

// Start starts the plugin. Any fault of the plugin is in its state. ctx bounds the
// start, and life the plugin's whole life.
func Start(ctx, life context.Context, e catalogue.Entry, c *Config) *Plugin {
	p := &Plugin{Entry: e, config: c, state: StateStarting, done: make(chan struct{}), changed: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(life)
	first, err := p.firstStart(ctx)
	if err != nil {
		close(p.done)
		if _, ok := errors.AsType[*startError](err); ok {
			c.Log.Warn("plugin did not start", "plugin", e.Name, "error", withDetail(err))
		}
		p.Disable(err.Error())
		return p
	}
	p.setState(StateRunning, "", first)
	go p.supervise(first)
	return p
}

func (p *Plugin) firstStart(ctx context.Context) (*instance, error) {
	path, sum, err := p.Entry.Binary(p.config.Folder)
	if err != nil {
		return nil, err
	}
	limits, err := p.Entry.Limits.ForSandbox()
	if err != nil {
		return nil, err
	}
	if p.image, err = loadImage(path, sum, p.config.Sockets.path); err != nil {
		return nil, err
	}
	p.spec = sandbox.Spec{Name: processPrefix + p.Entry.Name, Libraries: p.image.dynamic, Require: p.config.Sandbox == sandbox.ModeRequire, Limits: limits}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)() //nolint:contextcheck // the end of the plugin's life also ends its start
	first, err := startInstance(ctx, p.image, p.spec, p.config)
	if err != nil {
		return nil, err
	}
	if err := p.Entry.Admit(first.description); err != nil {
		first.end()
		return nil, err
	}
	p.description = first.description
	if missing := first.process.report.Missing; len(missing) > 0 {
		p.config.Log.Warn("plugin runs although it is not fully confined", "plugin", p.Entry.Name, "missing", missing)
	}
	return first, nil
}

// supervise restarts the plugin until its life ends or it is quarantined.
func (p *Plugin) supervise(current *instance) {
	defer close(p.done)
	restarts := 0 // since a process was stable
	for {
		if p.awaitEnd(current) {
			restarts = 0
		}
		current.end()
		p.recordExit(current.exitReason())
		for current = nil; current == nil; {
			if p.ctx.Err() != nil || !p.awaitRestart(restarts) {
				return
			}
			restarts++
			if p.config.OnRestart != nil {
				p.config.OnRestart(p.Entry.Name)
			}
			current = p.restart()
		}
	}
}

// awaitEnd waits for the end of the process or of the plugin's life, and reports
// whether the process was stable.
func (p *Plugin) awaitEnd(current *instance) (stable bool) {
	timer := time.NewTimer(stableAfter)
	defer timer.Stop()
	health := p.config.Health.withDefaults(p.config.Deadline)
	check := time.NewTicker(health.Every)
	defer check.Stop()
	for checks := (healthChecks{}); ; {
		select {
		case <-check.C:
			if checks.failed(p.ctx, current, health.Timeout) {
				current.process.kill(unresponsive)
			}
		case <-timer.C:
			stable = true
			p.recordExit("")
		case <-current.process.exited:
			return stable
		case <-p.ctx.Done():
			return stable
		}
	}
}

// awaitRestart counts one more failure and waits until the next start is due, or
// quarantines the plugin.
func (p *Plugin) awaitRestart(restarts int) bool {
	p.mu.Lock()
	p.failures++
	failures, reason := p.failures, p.lastExit
	p.mu.Unlock()
	if failures >= maxFailures {
		p.setState(StateQuarantined, fmt.Sprintf("it failed %d times in a row; remove the cause, then reload it", failures), nil)
		p.config.Log.Error("plugin quarantined", "plugin", p.Entry.Name, "failures", failures, "reason", reason)
		return false
	}
	delay := restartDelay(restarts)
	p.setState(StateRestarting, "", nil)
	p.config.Log.Warn("plugin ended and is started again", "plugin", p.Entry.Name, "reason", reason, "failures", failures, "delay", delay)
	select {
	case <-time.After(delay):
		return true
	case <-p.ctx.Done():
		return false
	}
}

// restartDelay returns how long to wait after a number of restarts.
func restartDelay(restarts int) time.Duration {
	if restarts == 0 {
		return 0
	}
	return min(firstDelay<<min(restarts-1, 16), maxDelay)
}

func (p *Plugin) restart() *instance {
	next, err := startInstance(p.ctx, p.image, p.spec, p.config)
	if err == nil && !proto.Equal(next.description, p.description) {
		next.end()
		err = errors.New("it declares other formats than at its first start")
	}
	if err != nil {
		p.config.Log.Warn("plugin did not start", "plugin", p.Entry.Name, "error", withDetail(err))
		p.recordExit(err.Error())
		return nil
	}
	p.setState(StateRunning, "", next)
	return next
}

// setState changes the state and wakes those who wait for a change.
func (p *Plugin) setState(state, detail string, current *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.detail, p.current = state, declaration.Printable(detail, maxOutputLine), current
	if current != nil {
		p.report = current.process.report
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// recordExit records why the previous process ended.
func (p *Plugin) recordExit(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastExit = declaration.Printable(reason, maxOutputLine)
}

// running returns the running process. It waits while the plugin is started again.
func (p *Plugin) running(ctx context.Context) (*instance, error) {
	for {
		p.mu.Lock()
		state, detail, current, changed := p.state, p.detail, p.current, p.changed
		p.mu.Unlock()
		switch {
		case p.ctx.Err() != nil:
			return nil, errStopped
		case state == StateQuarantined, state == StateDisabled:
			return nil, fmt.Errorf("the plugin is %s: %s", state, detail)
		case current != nil && !current.ended():
			return current, nil
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for plugin: %w", context.Cause(ctx))
		}
	}
}

// succeeded counts a render and resets the count of failures.
func (p *Plugin) succeeded(in *instance) {
	in.answered.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = 0
}

// Disable stops the plugin and records the reason in its state.
func (p *Plugin) Disable(reason string) {
	p.Stop()
	p.setState(StateDisabled, reason, nil)
	p.config.Log.Error("plugin disabled", "plugin", p.Entry.Name, "reason", declaration.Printable(reason, maxOutputLine))
}

// Stop ends the plugin permanently. It returns when its process and its image are gone.
func (p *Plugin) Stop() {
	p.cancel()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.image != nil {
		if err := p.image.close(); err != nil {
			p.config.Log.Warn("the copy of the plugin's binary was not freed", "plugin", p.Entry.Name, "error", err)
		}
		p.image = nil
	}
}

// Description returns what the plugin declared, nil if it never started.
func (p *Plugin) Description() *pluginv1.DescribeResponse { return p.description }

// AddRemark sets the detail of a plugin whose state does not change.
func (p *Plugin) AddRemark(remark string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = declaration.Printable(remark, maxOutputLine)
}

// State returns the plugin's state, without its formats.
func (p *Plugin) State() engine.PluginState {
	p.mu.Lock()
	defer p.mu.Unlock()
	detail := p.detail
	if p.lastExit != "" {
		detail = strings.TrimPrefix(detail+"; the last process ended: "+p.lastExit, "; ")
	}
	return engine.PluginState{
		Name: p.Entry.Name, Version: p.description.GetVersion(), SHA256: p.Entry.SHA256,
		State: p.state, Detail: detail,
		Sandbox: engine.Sandbox{Enforced: slices.Clone(p.report.Enforced), Missing: slices.Clone(p.report.Missing)},
	}
}

// Package host renders files through format plugins and trusts none of them. It
// implements engine.Formats. Start with [Open]; [Host.Render] makes a file.
//
// Packages below it do the parts: catalogue says what may run, declaration checks
// what a plugin declares, runtime keeps the processes running, and sandbox confines
// them. This package puts the formats of all plugins together (formats.go), and
// orders their renders (queue.go).
//
// The host promises:
//   - only what the catalogue lists by its SHA-256 runs, and the bytes that were
//     hashed are the bytes that run;
//   - a plugin has no environment, no standard input and no connection but one over
//     a private socket with mutual TLS;
//   - on Linux, it is confined before its first instruction: no network, no files but
//     that socket, no further processes, no privileges, and limits on memory,
//     threads, open files and CPU time. What the system cannot enforce is in the
//     plugin's state and in the log, and Options.Sandbox decides whether the plugin
//     may run nevertheless;
//   - key and passphrase reach only a format that declares the need and that the
//     catalogue grants it;
//   - a plugin that fails, hangs, floods or lies affects only its own formats, and
//     only as long as it does so;
//   - a plugin has no more renders at once than it is allowed; further renders wait
//     in order, for a limited time;
//   - what a plugin says never reaches a caller, and no log once the plugin has held
//     a secret;
//   - no process, socket or file is left when the host closes, and no process when
//     the host is killed.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
)

// The defaults of Options.
const (
	DefaultQueue   = 30 * time.Second
	DefaultWaiting = 1024
)

// Options configures a host. Only Catalogue has no working zero value.
type Options struct {
	// Catalogue is the path of the catalogue file. The plugins are in its folder.
	Catalogue string
	// SocketDir is the folder for the plugins' sockets. Two hosts cannot share it;
	// what a killed host left in it is removed. Default: a new folder, which stays
	// behind if the host is killed.
	SocketDir string
	// Deadline bounds one render, with its included formats and the restart of a
	// plugin, but without the time in queues. Default: runtime.DefaultDeadline.
	Deadline time.Duration
	// Concurrency is how many renders a plugin has at once if its catalogue entry
	// does not say. Default: the number of CPUs that Go uses, at least 2.
	Concurrency int
	// Queue is how long a render may wait in queues altogether. Default: DefaultQueue.
	Queue time.Duration
	// Waiting is how many renders may wait for one plugin. Default: DefaultWaiting.
	Waiting int
	// MaxFile is the largest rendered file, in bytes, at most sdk.MaxMessage.
	// Default: runtime.DefaultMaxFile.
	MaxFile int
	// Sandbox says whether a plugin may run that this system cannot fully confine.
	// Default: sandbox.ModeBestEffort.
	Sandbox string
	// Metrics, unless nil, receives metrics of the plugins.
	Metrics prometheus.Registerer
	// Logger receives events of the plugins. Default: slog.Default().
	Logger *slog.Logger

	health runtime.Health // for tests
}

// Host renders files through plugins. It is safe for concurrent use.
type Host struct {
	options Options
	runtime runtime.Config
	metrics *metrics
	life    context.Context
	end     context.CancelFunc
	view    atomic.Pointer[view]

	reload   sync.Mutex // held while the view changes
	closed   bool
	retiring sync.WaitGroup

	unregister func() // removes the metrics
}

var _ engine.Formats = (*Host)(nil)

// Open starts the plugins of the catalogue, all at once, and returns when each has
// started or failed. It fails if the catalogue cannot be read or the socket folder
// cannot be used. A fault of a plugin is in its state. ctx bounds the start.
func Open(ctx context.Context, o Options) (*Host, error) {
	h, listed, err := newHost(o)
	if err != nil {
		return nil, fmt.Errorf("open plugin host: %w", err)
	}
	h.life, h.end = context.WithCancel(context.Background())
	h.start(ctx, listed)
	return h, nil
}

// newHost makes a host that has no plugins yet.
func newHost(o Options) (*Host, catalogue.Catalogue, error) {
	if err := o.complete(); err != nil {
		return nil, catalogue.Catalogue{}, err
	}
	listed, err := catalogue.Read(o.Catalogue)
	if err == nil {
		err = listed.CheckAccess(o.Catalogue)
	}
	if err != nil {
		return nil, listed, err
	}
	sockets, err := runtime.OpenSockets(o.SocketDir)
	if err != nil {
		return nil, listed, err
	}
	h := &Host{options: o, metrics: newMetrics(), unregister: func() {}}
	h.runtime = runtime.Config{
		Folder: filepath.Dir(o.Catalogue), Sockets: sockets, Deadline: o.Deadline, MaxFile: o.MaxFile,
		Sandbox: o.Sandbox, Log: o.Logger, Health: o.health,
		OnRestart: func(plugin string) { h.metrics.restarts.WithLabelValues(plugin).Inc() },
	}
	h.view.Store(&view{})
	if err := h.register(o.Metrics); err != nil {
		return nil, listed, errors.Join(err, sockets.Close())
	}
	return h, listed, nil
}

// complete sets defaults and refuses values that are out of bounds.
func (o *Options) complete() error {
	o.Deadline = cmp.Or(o.Deadline, runtime.DefaultDeadline)
	o.Queue = cmp.Or(o.Queue, DefaultQueue)
	o.Waiting = cmp.Or(o.Waiting, DefaultWaiting)
	o.Concurrency = cmp.Or(o.Concurrency, min(max(2, goruntime.GOMAXPROCS(0)), catalogue.MaxConcurrency))
	o.MaxFile = cmp.Or(o.MaxFile, runtime.DefaultMaxFile)
	o.Sandbox = cmp.Or(o.Sandbox, sandbox.ModeBestEffort)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	switch {
	case o.Deadline < 0, o.MaxFile < 0, o.MaxFile > sdk.MaxMessage:
		return fmt.Errorf("deadline %s or largest file %d is out of bounds", o.Deadline, o.MaxFile)
	case o.Concurrency < 1, o.Concurrency > catalogue.MaxConcurrency, o.Queue < 0, o.Waiting < 0:
		return fmt.Errorf("concurrency %d (at most %d), queue %s or the number waiting %d is out of bounds", o.Concurrency, catalogue.MaxConcurrency, o.Queue, o.Waiting)
	case o.Sandbox != sandbox.ModeBestEffort && o.Sandbox != sandbox.ModeRequire:
		return fmt.Errorf("the sandbox mode is %q; it must be %s or %s", o.Sandbox, sandbox.ModeBestEffort, sandbox.ModeRequire)
	}
	return nil
}

func (h *Host) start(ctx context.Context, listed catalogue.Catalogue) {
	plugins := make([]*plugin, len(listed.Plugins))
	var starts sync.WaitGroup
	for i, e := range listed.Plugins {
		starts.Go(func() { plugins[i] = h.startPlugin(ctx, e) })
	}
	starts.Wait()
	v := resolve(plugins)
	for p, conflict := range v.conflicts {
		p.Disable(conflict)
	}
	h.publish(v)
}

// publish makes renders use a view.
func (h *Host) publish(v *view) {
	for p, problems := range v.problems {
		h.options.Logger.Error("formats are not available", "plugin", p.Entry.Name, "problems", problems)
	}
	h.view.Store(v)
}

// Formats implements engine.Formats. It also lists the formats of plugins that are
// expected to recover; the plugin's state is in the format. It does not list formats
// that the configuration excludes: the states of Plugins say why.
func (h *Host) Formats() []engine.Format {
	v := h.view.Load()
	formats := make([]engine.Format, 0, len(v.formats))
	for _, id := range slices.Sorted(maps.Keys(v.formats)) {
		formats = append(formats, v.public(v.formats[id]))
	}
	return formats
}

// Format implements engine.Formats.
func (h *Host) Format(name string) (engine.Format, bool) {
	v := h.view.Load()
	f, ok := v.names[name]
	if !ok {
		return engine.Format{}, false
	}
	return v.public(f), true
}

// CheckOptions implements engine.Formats.
func (h *Host) CheckOptions(name string, options map[string]any) (string, error) {
	f, ok := h.view.Load().names[name]
	if !ok {
		return "", engine.Errorf(engine.CodeInvalidOptions, "there is no format of that name")
	}
	return f.mergedOptions.Validate(options)
}

// Plugins returns the state of each plugin, in the order of the catalogue.
func (h *Host) Plugins() []engine.PluginState {
	v := h.view.Load()
	states := make([]engine.PluginState, 0, len(v.plugins))
	for _, p := range v.plugins {
		states = append(states, v.state(p))
	}
	return states
}

// Reload reads the plugin's catalogue entry again and starts what it lists. It
// brings a new version into use, lifts a quarantine, adds a plugin that is new in
// the catalogue, and removes one that is no longer listed. Renders use the old
// process until the new one is ready. If the new one cannot be used, the old one
// stays in use; the error and the plugin's detail say why.
func (h *Host) Reload(name string) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	if h.closed {
		return engine.Errorf(engine.CodeUnavailable, "the plugin host is shut down")
	}
	listed, err := catalogue.Read(h.options.Catalogue)
	if err == nil {
		err = listed.CheckAccess(h.options.Catalogue)
	}
	if err != nil {
		return engine.Errorf(engine.CodeUnavailable, "the plugin catalogue cannot be read").Because(err)
	}
	plugins := slices.Clone(h.view.Load().plugins)
	at := slices.IndexFunc(plugins, func(p *plugin) bool { return p.Entry.Name == name })
	e, found := listed.Find(name)
	switch {
	case !found && at < 0:
		return engine.Errorf(engine.CodeNotFound, "there is no plugin of that name")
	case !found:
		old := plugins[at]
		h.publish(resolve(slices.Delete(plugins, at, at+1)))
		h.retire(old)
		return nil
	}
	return h.replace(plugins, at, h.startPlugin(h.life, e))
}

// replace puts next in the place of the plugin at an index, or at the end if the
// index is negative.
func (h *Host) replace(plugins []*plugin, at int, next *plugin) error {
	var old *plugin
	if at < 0 {
		plugins = append(plugins, next)
	} else {
		old, plugins[at] = plugins[at], next
	}
	v := resolve(plugins)
	for p, conflict := range v.conflicts {
		if p != next { // next is earlier in the catalogue, but p already renders
			conflict = fmt.Sprintf("it claims a name that plugin %s has", p.Entry.Name)
		}
		next.Disable(conflict)
	}
	var err error
	if !next.usable() {
		detail := next.State().Detail
		err = engine.Errorf(engine.CodeRendererFailed, "plugin %s cannot be used: %s", next.Entry.Name, detail)
		if old != nil && old.serving() {
			old.AddRemark("reload failed, the previous version stays in use: " + detail)
			return err
		}
		v = resolve(plugins)
	}
	h.publish(v)
	if old != nil {
		h.retire(old)
	}
	return err
}

// Close stops every plugin and waits until nothing of them is left. Renders in
// progress fail. Closing again does nothing.
func (h *Host) Close() error {
	h.end() // this also ends a start for which Reload waits
	h.reload.Lock()
	defer h.reload.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.unregister()
	for _, p := range h.view.Load().plugins {
		p.Stop()
	}
	h.retiring.Wait()
	if err := h.runtime.Sockets.Close(); err != nil {
		return fmt.Errorf("close plugin host: %w", err)
	}
	return nil
}

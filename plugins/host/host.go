// Package host runs format plugins and trusts none of them. Start with [Open];
// [Host.Render] is what a render goes through, supervisor the life of a plugin.
//
// The package promises:
//   - only what the catalogue lists by its SHA-256 runs, and what was hashed is
//     what runs;
//   - a plugin gets no environment, no standard input and no connection but one
//     over a private socket with mutual TLS;
//   - on Linux it is confined before its first instruction: no network, no file
//     but that socket, no further process, no privileges, and limits on memory,
//     threads, open files and CPU time (package sandbox); what the system cannot
//     enforce is in its state and in the log, and Options.Sandbox decides
//     whether it may run nevertheless;
//   - key and passphrase reach only a format that declares the need and that
//     the catalogue grants it;
//   - a plugin that fails, hangs, floods or lies costs its own formats, for as
//     long as it does so, and nothing else;
//   - a plugin has so many renders at once as it is allowed; the next wait in
//     turn, and a bounded time, before they are refused;
//   - what a plugin says never reaches a caller, and no log once it has held a
//     secret;
//   - no process, socket or file is left when the host closes, and no process
//     when it is killed.
package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk"
)

// The defaults of Options.
const (
	DefaultDeadline = 10 * time.Second
	DefaultMaxFile  = 16 << 20
	DefaultQueue    = 30 * time.Second
	DefaultWaiting  = 1024
)

// Options configures a host. Only Catalogue has no working zero value.
type Options struct {
	// Catalogue is the path of the catalogue file; plugins lie in its folder.
	Catalogue string
	// SocketDir is the folder for the plugins' sockets, of one host at a time;
	// stale ones in it are wiped. Default: a folder of the host's own, which is
	// left behind when the host is killed.
	SocketDir string
	// Deadline bounds one render, included formats and waiting for a restart
	// included, waiting in the queue not. Default: DefaultDeadline.
	Deadline time.Duration
	// Concurrency is how many renders a plugin has at once whose catalogue entry
	// does not say. Default: as many as there are CPUs for Go, at least 2.
	Concurrency int
	// Queue is how long a render may wait, all in all, for plugins that have as
	// many as they may. Default: DefaultQueue.
	Queue time.Duration
	// Waiting is how many renders may wait for one plugin. Default:
	// DefaultWaiting.
	Waiting int
	// MaxFile is the most, in bytes, that a rendered file may have. Default:
	// DefaultMaxFile; at most sdk.MaxMessage.
	MaxFile int
	// Sandbox says whether a plugin may run that this system cannot confine
	// whole. Default: SandboxBestEffort.
	Sandbox string
	// Metrics, unless nil, shows the plugins' renders, queues and states.
	Metrics prometheus.Registerer
	// Logger is told of the plugins' lives. Default: slog.Default().
	Logger *slog.Logger

	health health // for tests
}

// The values of Options.Sandbox.
const (
	SandboxBestEffort = "best_effort" // it may: its state and the log say what is missing
	SandboxRequire    = "require"     // it may not
)

// settings are the options as the host's parts use them.
type settings struct {
	catalogue string
	sockets   *sockets
	deadline  time.Duration
	queue     time.Duration
	slots     int // of a plugin whose entry does not say
	waiting   int
	maxFile   int
	sandbox   string
	log       *slog.Logger
	listen    io.Writer // hears all that plugins write, if it is not nil
	metrics   *metrics
	health    health
}

// Host renders files through plugins. It is safe for concurrent use.
type Host struct {
	settings *settings
	life     context.Context
	end      context.CancelFunc
	view     atomic.Pointer[view]

	reload   sync.Mutex // held by what changes the view
	closed   bool
	retiring sync.WaitGroup

	unregister func() // takes the metrics away
}

var _ engine.Formats = (*Host)(nil)

// Open starts the plugins of the catalogue, all at once, and returns when each
// was tried. It fails when the catalogue cannot be read or the socket folder
// not used; what is wrong with a plugin is in its state. ctx bounds the start.
func Open(ctx context.Context, o Options) (*Host, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("open plugin host: %w", err)
	}
	listed, err := readCatalogue(o.Catalogue)
	if err != nil {
		return nil, fmt.Errorf("open plugin host: %w", err)
	}
	folder, err := openSockets(o.SocketDir)
	if err != nil {
		return nil, fmt.Errorf("open plugin host: %w", err)
	}
	h := &Host{settings: &settings{
		catalogue: o.Catalogue, sockets: folder, deadline: o.Deadline, queue: o.Queue, slots: o.Concurrency, waiting: o.Waiting,
		maxFile: o.MaxFile, sandbox: o.Sandbox, log: o.Logger, metrics: newMetrics(),
		health: o.health.complete(o.Deadline),
	}, unregister: func() {}}
	h.view.Store(&view{})
	if err := h.register(o.Metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("open plugin host: %w", err), folder.close())
	}
	h.life, h.end = context.WithCancel(context.Background())
	h.start(ctx, listed)
	return h, nil
}

// complete sets defaults and refuses what is out of bounds.
func (o *Options) complete() error {
	o.Deadline = cmp.Or(o.Deadline, DefaultDeadline)
	o.Queue = cmp.Or(o.Queue, DefaultQueue)
	o.Waiting = cmp.Or(o.Waiting, DefaultWaiting)
	o.Concurrency = cmp.Or(o.Concurrency, min(max(2, runtime.GOMAXPROCS(0)), maxConcurrency))
	o.MaxFile = cmp.Or(o.MaxFile, DefaultMaxFile)
	o.Sandbox = cmp.Or(o.Sandbox, SandboxBestEffort)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	switch {
	case o.Deadline < 0, o.MaxFile < 0, o.MaxFile > sdk.MaxMessage:
		return fmt.Errorf("deadline %s or largest file %d is out of bounds", o.Deadline, o.MaxFile)
	case o.Concurrency < 1, o.Concurrency > maxConcurrency, o.Queue < 0, o.Waiting < 0:
		return fmt.Errorf("concurrency %d (at most %d), queue %s or the number waiting %d is out of bounds", o.Concurrency, maxConcurrency, o.Queue, o.Waiting)
	case o.Sandbox != SandboxBestEffort && o.Sandbox != SandboxRequire:
		return fmt.Errorf("the sandbox is %q, neither %s nor %s", o.Sandbox, SandboxBestEffort, SandboxRequire)
	}
	return nil
}

func (h *Host) start(ctx context.Context, listed catalogue) {
	plugins := make([]*supervisor, len(listed.Plugins))
	var tried sync.WaitGroup
	for i, e := range listed.Plugins {
		tried.Go(func() { plugins[i] = launch(ctx, h.life, e, h.settings) })
	}
	tried.Wait()
	view := resolve(plugins)
	for plugin, clash := range view.clashes {
		plugin.disable(clash)
	}
	h.publish(view)
}

// publish makes a view the one that renders use.
func (h *Host) publish(v *view) {
	for plugin, problems := range v.problems {
		h.settings.log.Error("formats not available", "plugin", plugin.entry.Name, "problems", problems)
	}
	h.view.Store(v)
}

// Formats implements engine.Formats. What can be rendered only after a plugin
// recovers is listed, with its plugin's state; what the configuration rules out
// is not: Plugins says why.
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
		return "", engine.Errorf(engine.CodeInvalidOptions, "there is no format of that name to take options")
	}
	return f.merged.check(options)
}

// Plugins tells how each plugin of the catalogue is doing, in its order.
func (h *Host) Plugins() []engine.PluginState {
	v := h.view.Load()
	states := make([]engine.PluginState, 0, len(v.plugins))
	for _, plugin := range v.plugins {
		states = append(states, v.state(plugin))
	}
	return states
}

// Reload reads the plugin's entry in the catalogue again and starts what it
// names; that is how a new version comes into use, a quarantine is lifted and a
// plugin is added or, no longer being listed, removed. Renders go to the old
// process until the new one is ready, and if the new one cannot be used, they
// stay there: the error and the plugin's detail say why.
func (h *Host) Reload(name string) error {
	h.reload.Lock()
	defer h.reload.Unlock()
	if h.closed {
		return engine.Errorf(engine.CodeUnavailable, "the plugin host is shut down")
	}
	listed, err := readCatalogue(h.settings.catalogue)
	if err != nil {
		return engine.Errorf(engine.CodeUnavailable, "the plugin catalogue cannot be read").Because(err)
	}
	plugins := slices.Clone(h.view.Load().plugins)
	at := slices.IndexFunc(plugins, func(s *supervisor) bool { return s.entry.Name == name })
	e, found := listed.find(name)
	switch {
	case !found && at < 0:
		return engine.Errorf(engine.CodeNotFound, "there is no plugin of that name")
	case !found:
		old := plugins[at]
		h.publish(resolve(slices.Delete(plugins, at, at+1)))
		h.retire(old)
		return nil
	}
	return h.replace(plugins, at, launch(h.life, h.life, e, h.settings))
}

// replace puts next in the place of the plugin at an index, or at the end.
func (h *Host) replace(plugins []*supervisor, at int, next *supervisor) error {
	var old *supervisor
	if at < 0 {
		plugins = append(plugins, next)
	} else {
		old, plugins[at] = plugins[at], next
	}
	v := resolve(plugins)
	for plugin, clash := range v.clashes {
		if plugin != next { // next comes earlier and took the name of one at work
			clash = fmt.Sprintf("it claims a name that plugin %s has", plugin.entry.Name)
		}
		next.disable(clash)
	}
	var err error
	if !next.usable() {
		detail := next.shown().Detail
		err = engine.Errorf(engine.CodeRendererFailed, "plugin %s cannot be used: %s", next.entry.Name, detail)
		if old != nil && old.serving() {
			old.note("reload failed, the version before goes on: " + detail)
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

// Close ends every plugin and waits until nothing of them is left. Renders
// under way fail. Closing again does nothing.
func (h *Host) Close() error {
	h.end() // also ends a start that a Reload waits for
	h.reload.Lock()
	defer h.reload.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.unregister()
	for _, plugin := range h.view.Load().plugins {
		plugin.stop()
	}
	h.retiring.Wait()
	if err := h.settings.sockets.close(); err != nil {
		return fmt.Errorf("close plugin host: %w", err)
	}
	return nil
}

package host

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// plugin is a running plugin with its queue and the renders that use it. A plugin
// that was replaced ends only when no render uses it any more. A render uses all
// plugins of its format from its start, so none of them ends between two calls.
type plugin struct {
	*runtime.Plugin
	queue *queue

	mu      sync.Mutex
	renders int           // in progress
	retired bool          // replaced or removed
	unused  chan struct{} // closed when it is retired and no render uses it
}

// startPlugin starts a plugin of the catalogue. ctx bounds the start.
func (h *Host) startPlugin(ctx context.Context, e catalogue.Entry) *plugin {
	return &plugin{
		Plugin: runtime.Start(ctx, h.life, e, &h.runtime),
		queue:  newQueue(cmp.Or(e.Limits.Concurrency, h.options.Concurrency), h.options.Waiting),
		unused: make(chan struct{}),
	}
}

// usable reports whether the plugin can render, now or after a restart.
func (p *plugin) usable() bool { return p.State().State != runtime.StateDisabled }

// serving reports whether the plugin renders, now or after a restart that is due.
func (p *plugin) serving() bool {
	state := p.State().State
	return state == runtime.StateRunning || state == runtime.StateRestarting
}

// use counts one render more, unless the plugin is retired.
func (p *plugin) use() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return false
	}
	p.renders++
	return true
}

func (p *plugin) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.renders--; p.retired && p.renders == 0 {
		close(p.unused)
	}
}

// retire refuses further renders.
func (p *plugin) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired = true; p.renders == 0 {
		close(p.unused)
	}
}

// useFormat finds a format and uses its plugins until release is called.
func (h *Host) useFormat(name string) (f *format, release func(), ok bool) {
	for {
		f, ok := h.view.Load().names[name]
		if !ok {
			return nil, nil, false
		}
		if release, ok := useAll(f.plugins); ok {
			return f, release, true
		} // otherwise one of them was just replaced, and there is a new view
	}
}

// useAll uses all the plugins, or none.
func useAll(plugins []*plugin) (release func(), ok bool) {
	for i, p := range plugins {
		if !p.use() {
			releaseAll(plugins[:i])
			return nil, false
		}
	}
	return func() { releaseAll(plugins) }, true
}

func releaseAll(plugins []*plugin) {
	for _, p := range plugins {
		p.release()
	}
}

// allPlugins returns the plugins that render a format and those that it includes.
func allPlugins(own *plugin, includes []*format) []*plugin {
	all := []*plugin{own}
	for _, included := range includes {
		for _, p := range included.plugins {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// retire stops a plugin that is no longer in the view, once no render uses it, and
// at the latest after the longest time that a render may take.
func (h *Host) retire(old *plugin) {
	old.retire()
	h.retiring.Go(func() {
		limit := time.NewTimer(h.options.Queue + h.options.Deadline)
		defer limit.Stop()
		select {
		case <-old.unused:
		case <-limit.C:
		case <-h.life.Done():
		}
		old.Stop()
	})
}

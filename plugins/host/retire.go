package host

import (
	"slices"
	"time"
)

// A plugin that was replaced is ended once every render that found it is over.
// A render holds all plugins that its format takes from its start, so that none
// of them is ended between two calls.

// enter finds a format and holds its plugins until leave is called.
func (h *Host) enter(name string) (f *format, leave func(), ok bool) {
	for {
		f, ok := h.view.Load().names[name]
		if !ok {
			return nil, nil, false
		}
		if leave, ok := hold(f.plugins); ok {
			return f, leave, true
		} // else one of them was replaced this moment, and there is a new view
	}
}

// hold enters all the plugins, or none.
func hold(plugins []*supervisor) (leave func(), ok bool) {
	for i, plugin := range plugins {
		if !plugin.enter() {
			leaveAll(plugins[:i])
			return nil, false
		}
	}
	return func() { leaveAll(plugins) }, true
}

func leaveAll(plugins []*supervisor) {
	for _, plugin := range plugins {
		plugin.leave()
	}
}

// needed are the plugins that rendering a format takes.
func needed(by *supervisor, includes []*format) []*supervisor {
	all := []*supervisor{by}
	for _, included := range includes {
		for _, plugin := range included.plugins {
			if !slices.Contains(all, plugin) {
				all = append(all, plugin)
			}
		}
	}
	return all
}

// enter counts one more render, unless the plugin is retired.
func (v *supervisor) enter() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.retired {
		return false
	}
	v.renders++
	return true
}

func (v *supervisor) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.renders--; v.retired && v.renders == 0 {
		close(v.unused)
	}
}

// retire lets no more renders in. What it returns is closed when the last of
// those before has left.
func (v *supervisor) retire() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.retired = true; v.renders == 0 {
		close(v.unused)
	}
	return v.unused
}

// retire ends a plugin that is in the view no more, once no render uses it: in
// the longest time that a render may take, at the latest.
func (h *Host) retire(old *supervisor) {
	unused := old.retire()
	h.retiring.Go(func() {
		limit := time.NewTimer(h.settings.queue + h.settings.deadline)
		defer limit.Stop()
		select {
		case <-unused:
		case <-limit.C:
		case <-h.life.Done():
		}
		old.stop()
	})
}

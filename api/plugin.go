package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

type pluginInput struct {
	Name string `path:"name"`
}

type pluginOutput struct{ Body wire.Plugin }

func (s *Server) pluginEndpoints() {
	e := endpoint{
		id: "list-plugins", method: http.MethodGet, path: base + "/plugins", tag: "Plugins", summary: "List plugins and how they are",
		access: access{system: true},
	}
	register(s, e, s.plugins)
	e.id, e.method, e.path, e.summary = "reload-plugin", http.MethodPost, base+"/plugins/{name}/reload", "Start a plugin anew, as the catalogue lists it now"
	register(s, e, s.reload)
}

func (s *Server) plugins(_ context.Context, _ *call, in *struct{ Paging }) (*listing[wire.Plugin], error) {
	all := slices.SortedFunc(slices.Values(s.options.Plugins.Plugins()), func(a, b engine.PluginState) int { return strings.Compare(a.Name, b.Name) })
	return paged(all, in.Paging, func(p engine.PluginState) string { return p.Name }, toPlugin)
}

// reload also brings in a plugin that the catalogue lists anew, and takes out
// one that it lists no longer.
func (s *Server) reload(ctx context.Context, k *call, in *pluginInput) (*pluginOutput, error) {
	if !ids.MatchString(in.Name) {
		return nil, engine.CodeNotFound
	}
	failure := s.options.Plugins.Reload(in.Name)
	if errors.Is(failure, engine.CodeNotFound) {
		return nil, failure
	}
	e := k.Entry(s.clock(), engine.ActionPluginReloaded)
	e.ProjectID, e.Detail = engine.SystemChain, map[string]string{"plugin": in.Name}
	if failure != nil {
		e.Outcome = engine.AuditFailed
	}
	if err := s.store.Append(ctx, e); err != nil {
		return nil, engine.Errorf(engine.CodeAuditUnavailable, "the reload was tried and could not be put on record").Because(err)
	}
	if failure != nil {
		return nil, fmt.Errorf("reload plugin: %w", failure)
	}
	return &pluginOutput{toPlugin(s.plugin(in.Name))}, nil
}

// plugin finds a plugin as it is now.
func (s *Server) plugin(name string) engine.PluginState {
	for _, p := range s.options.Plugins.Plugins() {
		if p.Name == name {
			return p
		}
	}
	return engine.PluginState{Name: name, State: "removed"}
}

func toPlugin(p engine.PluginState) wire.Plugin {
	return wire.Plugin{FormatPlugin: toFormatPlugin(p), Detail: p.Detail, Formats: texts(p.Formats)}
}

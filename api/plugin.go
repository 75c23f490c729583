package api

import (
	"context"
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
	e.id, e.method, e.path, e.summary = "reload-plugin", http.MethodPost, base+"/plugins/{name}/reload", "Start a plugin anew"
	register(s, e, s.reload)
}

func (s *Server) plugins(_ context.Context, _ *call, in *struct{ Paging }) (*listing[wire.Plugin], error) {
	all := slices.SortedFunc(slices.Values(s.options.Plugins.Plugins()), func(a, b engine.PluginState) int { return strings.Compare(a.Name, b.Name) })
	return paged(all, in.Paging, func(p engine.PluginState) string { return p.Name }, toPlugin)
}

// reload puts the attempt on record before it is made, so that none is missing.
func (s *Server) reload(ctx context.Context, k *call, in *pluginInput) (*pluginOutput, error) {
	if _, ok := s.plugin(in.Name); !ok {
		return nil, engine.Errorf(engine.CodeNotFound, "there is no plugin of that name")
	}
	e := k.Entry(s.clock(), engine.ActionPluginReload)
	e.ProjectID, e.Detail = engine.SystemChain, map[string]string{"plugin": in.Name}
	if err := s.store.Append(ctx, e); err != nil {
		return nil, engine.Errorf(engine.CodeAuditUnavailable, "the reload could not be put on record, so nothing was done").Because(err)
	}
	if err := s.options.Plugins.Reload(in.Name); err != nil {
		return nil, fmt.Errorf("reload plugin: %w", err)
	}
	state, ok := s.plugin(in.Name)
	if !ok {
		return nil, engine.Errorf(engine.CodeNotFound, "the plugin is no longer there")
	}
	return &pluginOutput{toPlugin(state)}, nil
}

func (s *Server) plugin(name string) (engine.PluginState, bool) {
	for _, p := range s.options.Plugins.Plugins() {
		if p.Name == name {
			return p, true
		}
	}
	return engine.PluginState{}, false
}

func toPlugin(p engine.PluginState) wire.Plugin {
	return wire.Plugin{FormatPlugin: toFormatPlugin(p), Detail: p.Detail, Formats: texts(p.Formats)}
}

package api

import (
	"context"
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
	register(s, endpoint{
		id: "list-plugins", method: http.MethodGet, path: base + "/plugins", access: systemAdmin, tag: "Plugins",
		summary: "List plugins and their state",
	}, s.listPlugins)
	register(s, endpoint{
		id: "reload-plugin", method: http.MethodPost, path: base + "/plugins/{name}/reload", access: systemAdmin, tag: "Plugins",
		summary: "Start a plugin again, as the catalogue lists it now",
	}, s.reloadPlugin)
}

func (s *Server) listPlugins(_ context.Context, _ *call, in *struct{ Paging }) (*listing[wire.Plugin], error) {
	all := slices.SortedFunc(slices.Values(s.admin.Plugins.Plugins()), func(a, b engine.PluginState) int { return strings.Compare(a.Name, b.Name) })
	return paged(all, in.Paging, func(p engine.PluginState) string { return p.Name }, toPlugin)
}

func (s *Server) reloadPlugin(ctx context.Context, k *call, in *pluginInput) (*pluginOutput, error) {
	if !ids.MatchString(in.Name) {
		return nil, engine.CodeNotFound
	}
	p, err := s.admin.ReloadPlugin(ctx, k.Caller, in.Name)
	return &pluginOutput{toPlugin(p)}, err
}

func toPlugin(p engine.PluginState) wire.Plugin {
	return wire.Plugin{FormatPlugin: toFormatPlugin(p), Detail: p.Detail, Formats: texts(p.Formats)}
}

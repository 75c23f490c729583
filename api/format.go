package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/api/wire"
	"github.com/countersign-dev/countersign/engine"
)

func (s *Server) formatEndpoints() {
	register(s, endpoint{
		id: "list-formats", method: http.MethodGet, path: base + "/projects/{pid}/formats", access: role(engine.RoleViewer), tag: "Formats",
		summary: "List the formats in which certificates can be downloaded",
	}, s.listFormats)
}

func (s *Server) listFormats(_ context.Context, k *call, in *struct{ Paging }) (*listing[wire.Format], error) {
	all := slices.SortedFunc(slices.Values(s.downloads.ProjectFormats(k.Project.ID)), func(a, b engine.Format) int { return strings.Compare(a.ID, b.ID) })
	return paged(all, in.Paging, func(f engine.Format) string { return f.ID }, toFormat)
}

func toFormat(f engine.Format) wire.Format {
	schema := f.OptionsSchema
	if len(schema) == 0 {
		schema = json.RawMessage(`{"type":"object","additionalProperties":false}`) // the format has no options
	}
	targets := []wire.FormatTarget{}
	for _, t := range f.Targets {
		targets = append(targets, toFormatTarget(t))
	}
	return wire.Format{
		ID: f.ID, Filename: f.Filename, Aliases: texts(f.Aliases), MediaType: f.MediaType, ContainsKey: f.ContainsKey,
		NeedsPassphrase: f.NeedsPassphrase, Description: f.Description, TypicalUse: f.TypicalUse, OptionsSchema: schema,
		Targets: targets, Plugin: toFormatPlugin(f.Plugin),
	}
}

func toFormatTarget(t engine.FormatTarget) wire.FormatTarget {
	options := map[string]any{}
	_ = json.Unmarshal([]byte(t.Options), &options) // the engine guarantees an object
	return wire.FormatTarget{ID: t.ID, Title: t.Title, Options: options, ImportCommand: t.ImportCommand}
}

func toFormatPlugin(p engine.PluginState) wire.FormatPlugin {
	return wire.FormatPlugin{Name: p.Name, Version: p.Version, SHA256: p.SHA256, State: p.State,
		Sandbox: wire.Sandbox{Enforced: texts(p.Sandbox.Enforced), Missing: texts(p.Sandbox.Missing)}}
}

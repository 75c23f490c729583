package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// format is one that can be rendered, with everything settled that a render
// needs to know.
type format struct {
	engine.Format // of the whole; Plugin is filled in on the way out
	declared      *pluginv1.Format
	by            *supervisor
	includes      []*format
	plugins       []*supervisor // its own and those of what it includes
	own           *schema       // of its own options
	merged        *schema       // of its own and its included formats'
}

// secret tells whether rendering it has to do with the key or the passphrase.
func (f *format) secret() bool { return f.ContainsKey || f.NeedsPassphrase }

// view is the plugins and the formats they make together, at one moment.
type view struct {
	plugins []*supervisor // in the catalogue's order
	formats map[string]*format
	names   map[string]*format
	// problems says, by plugin, which of its formats are not available.
	problems map[*supervisor][]string
	// clashes says which plugins claim a name that another has.
	clashes map[*supervisor]string
}

// resolve works out what the plugins make together. It changes none of them.
func resolve(plugins []*supervisor) *view {
	v := &view{
		plugins: plugins, formats: map[string]*format{}, names: map[string]*format{},
		problems: map[*supervisor][]string{}, clashes: map[*supervisor]string{},
	}
	r := resolver{view: v, declared: map[string]*format{}, done: map[string]error{}}
	r.collect()
	for _, id := range slices.Sorted(maps.Keys(r.declared)) {
		f := r.declared[id]
		if err := r.settle(f, nil); err != nil {
			v.problems[f.by] = append(v.problems[f.by], fmt.Sprintf("format %s is not available: %v", id, err))
			continue
		}
		v.formats[id] = f
		for _, name := range names(f.declared) {
			v.names[name] = f
		}
	}
	return v
}

type resolver struct {
	view     *view
	declared map[string]*format
	done     map[string]error // by id, how settling it ended
}

// collect gathers what the plugins declare. All names of formats are one name
// space; the first plugin in the catalogue to claim one has it.
func (r *resolver) collect() {
	taken := map[string]string{}
	for _, plugin := range r.view.plugins {
		if !plugin.usable() {
			continue
		}
		if clash := claim(taken, plugin); clash != "" {
			r.view.clashes[plugin] = clash
			continue
		}
		for _, d := range plugin.description.GetFormats() {
			r.declared[d.GetId()] = &format{declared: d, by: plugin}
		}
	}
}

// claim takes all names of the plugin's formats, or none and says why.
func claim(taken map[string]string, plugin *supervisor) string {
	mine := map[string]string{}
	for _, d := range plugin.description.GetFormats() {
		for _, name := range names(d) {
			if owner, ok := taken[name]; ok {
				return fmt.Sprintf("its format %s claims the name %s, which plugin %s has", d.GetId(), name, owner)
			}
			if _, ok := mine[name]; ok {
				return fmt.Sprintf("it claims the name %s twice", name)
			}
			mine[name] = plugin.entry.Name
		}
	}
	maps.Copy(taken, mine)
	return ""
}

// settle works a format out, the formats it includes first. path is how it was
// come to.
func (r *resolver) settle(f *format, path []string) error {
	id := f.declared.GetId()
	if slices.Contains(path, id) {
		return fmt.Errorf("the includes form a cycle (%s)", strings.Join(append(path, id), " → "))
	}
	if err, ok := r.done[id]; ok {
		return err
	}
	err := r.settleIncludes(f, append(slices.Clone(path), id))
	if err == nil {
		err = f.settleSelf()
	}
	r.done[id] = err
	return err
}

func (r *resolver) settleIncludes(f *format, path []string) error {
	for _, id := range f.declared.GetIncludes() {
		included, ok := r.declared[id]
		if !ok {
			return fmt.Errorf("it includes %s, which no plugin renders", id)
		}
		if err := r.settle(included, path); err != nil {
			return fmt.Errorf("it includes %s, which is not available: %w", id, err)
		}
		if slices.Contains(f.includes, included) {
			return fmt.Errorf("it includes %s twice", id)
		}
		f.includes = append(f.includes, included)
	}
	return nil
}

// settleSelf adds up what the format and those it includes need, and checks
// that against what the catalogue grants.
func (f *format) settleSelf() error {
	d := f.declared
	var err error
	if f.own, err = parseSchema(d.GetOptionsSchema()); err != nil {
		return err
	}
	merged := *f.own
	merged.properties, merged.required = maps.Clone(f.own.properties), slices.Clone(f.own.required)
	f.merged = &merged
	key, passphrase, projects := d.GetNeedsKey(), d.GetNeedsPassphrase(), f.by.entry.Projects
	for _, included := range f.includes {
		key, passphrase = key || included.ContainsKey, passphrase || included.NeedsPassphrase
		projects = common(projects, included.Projects)
		if err := f.merged.include(included.merged); err != nil {
			return err
		}
	}
	if len(f.includes) > 0 {
		if err := f.merged.compile(); err != nil {
			return err
		}
	}
	// The file of an included format may be the key itself, so holding it takes
	// the same grant. The passphrase is in no file.
	grants := f.by.entry.Grants
	if key && !slices.Contains(grants.Key, d.GetId()) {
		return errors.New("it asks for the private key, which the catalogue does not grant it")
	}
	if d.GetNeedsPassphrase() && !slices.Contains(grants.Passphrase, d.GetId()) {
		return errors.New("it asks for the passphrase, which the catalogue does not grant it")
	}
	targets, err := f.targets()
	if err != nil {
		return err
	}
	f.plugins = needed(f.by, f.includes)
	f.Format = engine.Format{
		ID: d.GetId(), Filename: d.GetFilename(), Aliases: d.GetAliases(), MediaType: d.GetMediaType(),
		ContainsKey: key, NeedsPassphrase: passphrase, NeedsChain: d.GetNeedsChain(),
		Description: d.GetDescription(), TypicalUse: d.GetTypicalUse(),
		OptionsSchema: f.merged.document, Includes: d.GetIncludes(), Targets: targets, Projects: projects,
	}
	return nil
}

// common are the projects in both lists: nil is all projects, empty is none.
func common(a, b []string) []string {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	both := []string{}
	for _, project := range a {
		if slices.Contains(b, project) {
			both = append(both, project)
		}
	}
	return both
}

// state is a plugin's, with the formats it makes and those it should but cannot.
func (v *view) state(plugin *supervisor) engine.PluginState {
	state := plugin.shown()
	for _, d := range plugin.description.GetFormats() {
		if f := v.formats[d.GetId()]; f != nil && f.by == plugin {
			state.Formats = append(state.Formats, d.GetId())
		}
	}
	if state.State == StateDisabled {
		state.Formats = plugin.entry.Formats
	}
	state.Detail = strings.Join(slices.DeleteFunc(append([]string{state.Detail}, v.problems[plugin]...), func(s string) bool { return s == "" }), "; ")
	return state
}

// public is the format as callers see it, its plugin's present state included.
// It shares nothing that a caller could change.
func (v *view) public(f *format) engine.Format {
	out := f.Format
	out.Aliases, out.Includes = slices.Clone(f.Aliases), slices.Clone(f.Includes)
	out.OptionsSchema, out.Targets, out.Projects = slices.Clone(f.OptionsSchema), slices.Clone(f.Targets), slices.Clone(f.Projects)
	out.Plugin = v.state(f.by)
	return out
}

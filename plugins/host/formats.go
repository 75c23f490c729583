package host

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/declaration"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// format is a format that can be rendered, with all that a render needs to know.
type format struct {
	engine.Format // with what the included formats need; Plugin is set by v.public
	declared      *pluginv1.Format
	plugin        *plugin
	includes      []*format
	plugins       []*plugin // its own and those of the formats that it includes
	ownOptions    *declaration.Schema
	mergedOptions *declaration.Schema // with those of the included formats
}

// secret reports whether the key or the passphrase goes into the file.
func (f *format) secret() bool { return f.ContainsKey || f.NeedsPassphrase }

// view is a snapshot of the plugins and of the formats that they render together.
type view struct {
	plugins []*plugin // in the order of the catalogue
	formats map[string]*format
	names   map[string]*format
	// problems says why formats of a plugin are not available.
	problems map[*plugin][]string
	// conflicts says which plugins claim a name that another plugin has.
	conflicts map[*plugin]string
}

// resolve works out which formats the plugins render together. It does not change
// the plugins.
func resolve(plugins []*plugin) *view {
	v := &view{
		plugins: plugins, formats: map[string]*format{}, names: map[string]*format{},
		problems: map[*plugin][]string{}, conflicts: map[*plugin]string{},
	}
	r := resolver{view: v, declared: map[string]*format{}, resolved: map[string]error{}}
	r.collect()
	for _, id := range slices.Sorted(maps.Keys(r.declared)) {
		f := r.declared[id]
		if err := r.resolveFormat(f, nil); err != nil {
			v.problems[f.plugin] = append(v.problems[f.plugin], fmt.Sprintf("format %s is not available: %v", id, err))
			continue
		}
		v.formats[id] = f
		for _, name := range declaration.Names(f.declared) {
			v.names[name] = f
		}
	}
	return v
}

type resolver struct {
	view     *view
	declared map[string]*format
	resolved map[string]error // the result for each id
}

// collect gathers what the plugins declare. A name can belong to one format only;
// the first plugin in the catalogue that claims it has it.
func (r *resolver) collect() {
	taken := map[string]string{}
	for _, p := range r.view.plugins {
		if !p.usable() {
			continue
		}
		if err := declaration.CheckNames(p.Entry.Name, p.Description(), taken); err != nil {
			r.view.conflicts[p] = err.Error()
			continue
		}
		for _, d := range p.Description().GetFormats() {
			r.declared[d.GetId()] = &format{declared: d, plugin: p}
		}
	}
}

// resolveFormat resolves a format after the formats that it includes. path lists
// the formats that led to it.
func (r *resolver) resolveFormat(f *format, path []string) error {
	id := f.declared.GetId()
	if slices.Contains(path, id) {
		return fmt.Errorf("the includes form a cycle (%s)", strings.Join(append(path, id), " → "))
	}
	if err, ok := r.resolved[id]; ok {
		return err
	}
	err := r.resolveIncludes(f, append(slices.Clone(path), id))
	if err == nil {
		err = f.complete()
	}
	r.resolved[id] = err
	return err
}

func (r *resolver) resolveIncludes(f *format, path []string) error {
	for _, id := range f.declared.GetIncludes() {
		included, ok := r.declared[id]
		if !ok {
			return fmt.Errorf("it includes %s, which no plugin renders", id)
		}
		if err := r.resolveFormat(included, path); err != nil {
			return fmt.Errorf("it includes %s, which is not available: %w", id, err)
		}
		if slices.Contains(f.includes, included) {
			return fmt.Errorf("it includes %s twice", id)
		}
		f.includes = append(f.includes, included)
	}
	return nil
}

// complete adds up what the format and those that it includes need, and checks that
// the catalogue grants it.
func (f *format) complete() error {
	d := f.declared
	var err error
	if f.ownOptions, err = declaration.ParseSchema(d.GetOptionsSchema()); err != nil {
		return err
	}
	key, passphrase, projects := d.GetNeedsKey(), d.GetNeedsPassphrase(), []string(f.plugin.Entry.Projects)
	var included []*declaration.Schema
	for _, i := range f.includes {
		key, passphrase = key || i.ContainsKey, passphrase || i.NeedsPassphrase
		projects = intersect(projects, i.Projects)
		included = append(included, i.mergedOptions)
	}
	if f.mergedOptions, err = f.ownOptions.Merge(included); err != nil {
		return err
	}
	// The file of an included format may be the key itself, so a format that
	// receives the file needs the same grant. No file contains the passphrase.
	grants := f.plugin.Entry.Grants
	if key && !slices.Contains(grants.Key, d.GetId()) {
		return errors.New("it needs the private key, which the catalogue does not grant it")
	}
	if d.GetNeedsPassphrase() && !slices.Contains(grants.Passphrase, d.GetId()) {
		return errors.New("it needs the passphrase, which the catalogue does not grant it")
	}
	targets, err := declaration.Targets(d, f.mergedOptions)
	if err != nil {
		return err
	}
	f.plugins = allPlugins(f.plugin, f.includes)
	f.Format = engine.Format{
		ID: d.GetId(), Filename: d.GetFilename(), Aliases: d.GetAliases(), MediaType: d.GetMediaType(),
		ContainsKey: key, NeedsPassphrase: passphrase, NeedsChain: d.GetNeedsChain(),
		Description: d.GetDescription(), TypicalUse: d.GetTypicalUse(),
		OptionsSchema: f.mergedOptions.Document, Includes: d.GetIncludes(), Targets: targets, Projects: projects,
	}
	return nil
}

// intersect returns the projects that are in both lists. nil means all projects, and
// an empty list none.
func intersect(a, b []string) []string {
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

// state returns a plugin's state with the formats that it renders. The formats of a
// disabled plugin are those that the catalogue lists.
func (v *view) state(p *plugin) engine.PluginState {
	state := p.State()
	for _, d := range p.Description().GetFormats() {
		if f := v.formats[d.GetId()]; f != nil && f.plugin == p {
			state.Formats = append(state.Formats, d.GetId())
		}
	}
	if state.State == runtime.StateDisabled {
		state.Formats = p.Entry.Formats
	}
	state.Detail = strings.Join(slices.DeleteFunc(append([]string{state.Detail}, v.problems[p]...), func(s string) bool { return s == "" }), "; ")
	return state
}

// public returns the format for callers, with its plugin's present state. It shares
// no memory that a caller could change.
func (v *view) public(f *format) engine.Format {
	out := f.Format
	out.Aliases, out.Includes = slices.Clone(f.Aliases), slices.Clone(f.Includes)
	out.OptionsSchema, out.Targets, out.Projects = slices.Clone(f.OptionsSchema), slices.Clone(f.Targets), slices.Clone(f.Projects)
	out.Plugin = v.state(f.plugin)
	return out
}

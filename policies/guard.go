package policies

import (
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The built-in package, the sets of it that a team's files may add to, and where
// tests find the samples.
const (
	builtinPackage = "countersign"
	denySet        = "deny"
	approvalSet    = "approval"
	samplesName    = "samples"
)

func builtinModule() *ast.Module {
	module, err := ast.ParseModuleWithOpts(builtinName, builtinText, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		panic(err) // the file is part of the program
	}
	return module
}

// reserved are the names that mean something in the built-in rules: rules,
// variables and, because a rule of the same name takes its place in the whole
// package, every function of the language.
var reserved = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	ast.WalkVars(builtinModule(), func(v ast.Var) bool {
		names[string(v)] = true
		return false
	})
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		first, _, _ := strings.Cut(b.Name, ".")
		names[first] = true
	}
	delete(names, denySet)
	delete(names, approvalSet)
	return names
})

// guard finds what in a team's file would reach the built-in rules otherwise
// than by adding to deny and approval.
func guard(name string, module *ast.Module) ast.Errors {
	var errs ast.Errors
	refuse := func(at *ast.Location, format string, args ...any) {
		errs = append(errs, ast.NewError(ast.CompileErr, at, format, args...))
	}
	path := module.Package.Path // data.<package>
	switch {
	case element(path, 1) == samplesName:
		refuse(module.Package.Loc(), "package %s is kept for the samples that tests use", samplesName)
	case element(path, 1) != builtinPackage:
	case len(path) > 2 && (reserved()[element(path, 2)] || isOpen(element(path, 2))):
		refuse(module.Package.Loc(), "package %s is a name of the built-in rules", path)
	case len(path) == 2:
		for _, rule := range module.Rules {
			of := element(rule.Ref(), 2)
			switch {
			case reserved()[of]:
				refuse(rule.Loc(), "%s is a name of the built-in rules or of the language; a team's file may add to deny and approval, and define names of its own", of)
			case isOpen(of) && strings.HasSuffix(name, testSuffix):
				refuse(rule.Loc(), "a test file must not add to %s: the rules in force do not have it", of)
			case isOpen(of) && !addsTo(rule):
				refuse(rule.Loc(), "a team's file may only add to %s: %[1]s contains … if …", of)
			}
		}
	}
	return errs
}

// isOpen tells of the sets that a team may add to.
func isOpen(name string) bool { return name == denySet || name == approvalSet }

// addsTo tells whether a rule is of the form "set contains x".
func addsTo(rule *ast.Rule) bool {
	return rule.Head.RuleKind() == ast.MultiValue && len(rule.Head.Ref()) == 1 && !rule.Default && rule.Else == nil
}

// element is a part of a reference, empty where it is not a text.
func element(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	text, _ := ref[i].Value.(ast.String)
	return string(text)
}

// undefined finds references to data that no rule defines: no data is loaded
// beside the rules, so such a reference, misspelt or defined in a test file
// alone, would never hold and what it guards would be let through.
func undefined(compiled *ast.Compiler, name string) ast.Errors {
	var errs ast.Errors
	for _, rule := range compiled.Modules[name].Rules {
		ast.WalkRefs(rule, func(ref ast.Ref) bool {
			if ref.HasPrefix(ast.DefaultRootRef) && len(compiled.GetRulesDynamicWithOpts(ref, ast.RulesOptions{})) == 0 {
				errs = append(errs, ast.NewError(ast.TypeErr, ref[0].Loc(), "no rule defines %s", ref))
			}
			return false
		})
	}
	return errs
}

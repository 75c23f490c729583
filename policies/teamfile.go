package policies

import (
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
)

// The built-in package, its sets to which a team's files may add, and the package
// in which tests find the samples.
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

// reservedNames are the names with a meaning in the built-in rules: their rules and
// variables, and every builtin function of Rego, because a rule of the same name
// would replace the function in the whole package.
var reservedNames = sync.OnceValue(func() map[string]bool {
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

// checkTeamFile finds everything in a team's file that could change the built-in
// rules in another way than by adding to deny and approval.
func checkTeamFile(name string, module *ast.Module) ast.Errors {
	var errs ast.Errors
	refuse := func(at *ast.Location, format string, args ...any) {
		errs = append(errs, ast.NewError(ast.CompileErr, at, format, args...))
	}
	path := module.Package.Path // data.<package>
	switch {
	case element(path, 1) == samplesName:
		refuse(module.Package.Loc(), "package %s is reserved for the samples that tests use; rename it", samplesName)
	case element(path, 1) != builtinPackage:
	case len(path) > 2 && (reservedNames()[element(path, 2)] || isExtensible(element(path, 2))):
		refuse(module.Package.Loc(), "package %s is a name of the built-in rules; rename it", path)
	case len(path) == 2:
		for _, rule := range module.Rules {
			of := element(rule.Ref(), 2)
			switch {
			case reservedNames()[of]:
				refuse(rule.Loc(), "%s is a name of the built-in rules or of Rego; choose another name, or add to deny or approval", of)
			case isExtensible(of) && strings.HasSuffix(name, testSuffix):
				refuse(rule.Loc(), "a test file must not add to %s, because the server does not load test files; move the rule to another file", of)
			case isExtensible(of) && !isAddition(rule):
				refuse(rule.Loc(), "a team's file may only add to %s; write: %[1]s contains … if …", of)
			}
		}
	}
	return errs
}

// isExtensible reports whether name is a set to which a team may add.
func isExtensible(name string) bool { return name == denySet || name == approvalSet }

// isAddition reports whether a rule is of the form "set contains x".
func isAddition(rule *ast.Rule) bool {
	return rule.Head.RuleKind() == ast.MultiValue && len(rule.Head.Ref()) == 1 && !rule.Default && rule.Else == nil
}

// element is a part of a reference, or empty if it is not a string.
func element(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	text, _ := ref[i].Value.(ast.String)
	return string(text)
}

// undefinedReferences finds references to data that no rule defines. No data is
// loaded beside the rules, so a rule with such a reference, which is misspelt or
// defined only in a test file, would never apply.
func undefinedReferences(compiled *ast.Compiler, name string) ast.Errors {
	var errs ast.Errors
	for _, rule := range compiled.Modules[name].Rules {
		ast.WalkRefs(rule, func(ref ast.Ref) bool {
			if ref.HasPrefix(ast.DefaultRootRef) && len(compiled.GetRulesDynamicWithOpts(ref, ast.RulesOptions{})) == 0 {
				errs = append(errs, ast.NewError(ast.TypeErr, ref[0].Loc(), "no rule defines %s; correct the name, or define it in a file that is not a test", ref))
			}
			return false
		})
	}
	return errs
}

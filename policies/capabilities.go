package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// hiddenNondeterministic are builtins that read the clock or the machine's trust
// store although Open Policy Agent does not mark them as nondeterministic.
var hiddenNondeterministic = []string{
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
	"io.jwt.decode_verify",
}

// capabilities are what rules may use: the builtins whose result depends only on
// their arguments, and no network, not even for JSON schemas.
func capabilities() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(slices.Clone(all.Builtins), func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.Contains(hiddenNondeterministic, b.Name)
	})
	all.AllowNet = []string{}
	return all
}

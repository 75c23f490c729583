package policies

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// impure are builtins that read the clock or the machine although Open Policy
// Agent does not mark them as nondeterministic: certificate and JWT checks
// compare with the present time, and a trust store of the machine's.
var impure = []string{
	"crypto.x509.parse_and_verify_certificates",
	"crypto.x509.parse_and_verify_certificates_with_options",
	"io.jwt.decode_verify",
}

// capabilities are what rules may use: every builtin whose result depends on its
// arguments alone, and no network, for JSON schemas neither.
func capabilities() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	all.Builtins = slices.DeleteFunc(slices.Clone(all.Builtins), func(b *ast.Builtin) bool {
		return b.Nondeterministic || slices.Contains(impure, b.Name)
	})
	all.AllowNet = []string{}
	return all
}

package certparse

import "embed"

// Source is this package, apart from this file. New plugins have a copy of it.
//
//go:embed certparse.go key.go name.go text.go
var Source embed.FS

package ber

import "embed"

// Source is this package, apart from this file. New plugins have a copy of it.
//
//go:embed ber.go
var Source embed.FS

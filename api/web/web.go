// Package web is the web UI. Its sources are TypeScript in src, start with
// src/main.tsx; Vite builds them into dist/ui, which is embedded here. The client
// of the API is generated from openapi.json, which a test keeps up to date.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files is the built UI: index.html and what it loads, under assets. Without an
// index.html, nobody built it: "make build" does.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist/ui")
	if err != nil {
		panic(err) // the path is valid
	}
	return files
}

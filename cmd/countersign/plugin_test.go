package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// ownPlugins puts the program's plugins into a folder, with a catalogue for one
// server to itself, without some of the entries. It returns the catalogue.
func ownPlugins(t *testing.T, program, to string, without ...string) string {
	t.Helper()
	from := filepath.Join(filepath.Dir(program), "plugins")
	files, err := os.ReadDir(from)
	noError(t, err)
	for _, file := range files {
		if file.Name() != "catalogue.json" {
			noError(t, os.Symlink(filepath.Join(from, file.Name()), filepath.Join(to, file.Name())))
		}
	}
	var catalogue struct {
		Plugins []map[string]any `json:"plugins"`
	}
	text, err := os.ReadFile(filepath.Join(from, "catalogue.json"))
	noError(t, err)
	noError(t, json.Unmarshal(text, &catalogue))
	catalogue.Plugins = slices.DeleteFunc(catalogue.Plugins, func(e map[string]any) bool {
		name, _ := e["name"].(string)
		return slices.Contains(without, name)
	})
	text, err = json.Marshal(catalogue)
	noError(t, err)
	path := filepath.Join(to, "catalogue.json")
	noError(t, os.WriteFile(path, text, 0o600))
	return path
}

// startSmall starts a server with the plugins pem and pkcs12 alone, for tests that
// start several servers: each plugin takes time to start.
func startSmall(t *testing.T, program, dir string, env ...string) *server {
	t.Helper()
	catalogue := ownPlugins(t, program, t.TempDir(), "zip", "jks", "p7b", "der", "pkcs8", "k8s-secret")
	return start(t, program, dir, append(env, "COUNTERSIGN_PLUGINS="+catalogue)...)
}

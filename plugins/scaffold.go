// Package plugins creates new format plugins. Each is a Go module that includes a
// copy of the SDK. Start with [Scaffold]. The subfolders have the SDK, the host and
// the built-in plugins.
package plugins

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/countersign-dev/countersign/engine/ber"
	"github.com/countersign-dev/countersign/engine/certparse"
)

// sources are the SDK and the template. The files of the template end in .tmpl, so that the go command ignores them.
//
//go:embed sdk/*.go sdk/pluginv1/*.go sdk/pluginv1/*.proto sdk/sdktest/*.go sdk/specimen/*.go template
var sources embed.FS

const (
	// placeholder marks the plugin's name in the template.
	placeholder = "@name@"
	sdkModule   = "github.com/countersign-dev/countersign"
)

var pluginName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// Scaffold creates the folder parent/name with a plugin that builds and passes its
// tests. If it fails, it leaves no folder. It never replaces an existing one.
func Scaffold(parent, name string) (folder string, err error) {
	if !pluginName.MatchString(name) {
		return "", fmt.Errorf("%q is not a valid plugin name; use at most 32 lower case letters, digits, - and _", name)
	}
	files, err := scaffold(name)
	if err != nil {
		return "", fmt.Errorf("create plugin: %w", err)
	}
	temp, err := os.MkdirTemp(parent, "."+name+"-")
	if err != nil {
		return "", fmt.Errorf("create plugin: %w", err)
	}
	folder = filepath.Join(parent, name)
	if err = write(temp, files); err == nil {
		err = os.Rename(temp, folder) // fails if the folder has files, or is a file
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("create plugin: %w", err), os.RemoveAll(temp))
	}
	return folder, nil
}

// scaffold returns the content of each file of a plugin, by path.
func scaffold(name string) (map[string]string, error) {
	files := map[string]string{}
	for folder, source := range map[string]embed.FS{"ber": ber.Source, "certparse": certparse.Source} { // all that the SDK needs of this module
		err := fs.WalkDir(source, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := source.ReadFile(path)
			files["sdk/engine/"+folder+"/"+path] = string(content)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	err := fs.WalkDir(sources, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		if file, ok := strings.CutPrefix(path, "template/"); ok {
			file = strings.TrimSuffix(strings.Replace(file, "gitignore", ".gitignore", 1), ".tmpl")
			files[strings.ReplaceAll(file, placeholder, name)] = strings.ReplaceAll(string(content), placeholder, name)
			return nil
		}
		files["sdk/plugins/"+path] = string(content)
		return nil
	})
	if err != nil {
		return nil, err
	}
	files["go.mod"], files["go.sum"] = moduleFile(name, files["sdk/go.mod"]), files["sdk/go.sum"]
	return files, nil
}

var directRequirement = regexp.MustCompile(`(?m)^(\t\S+ v\S+)$`)

// moduleFile returns the plugin's go.mod. It requires the SDK and, indirectly, the
// modules that the SDK requires.
func moduleFile(name, sdk string) string {
	own := "module countersign-plugin-" + name + "\n\nreplace " + sdkModule + " => ./sdk\n\nrequire " + sdkModule + " v0.0.0"
	return directRequirement.ReplaceAllString(strings.Replace(sdk, "module "+sdkModule, own, 1), "$1 // indirect")
}

func write(folder string, files map[string]string) error {
	if err := os.Chmod(folder, 0o750); err != nil { //nolint:gosec // the user's working folder
		return err
	}
	for file, content := range files {
		path := filepath.Join(folder, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // source files are not secret
			return err
		}
	}
	return nil
}

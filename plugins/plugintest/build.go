// Package plugintest builds the format plugins that tests start: the built-in ones,
// and those in testdata that misbehave on purpose. Start with [Build]. Only tests
// import this package.
package plugintest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Build builds the plugins and returns the folder of their binaries. All test
// programs of a working copy share the folder, so each plugin is linked once and
// again only after a change.
var Build = sync.OnceValues(build)

func build() (folder string, err error) {
	module, err := exec.Command("go", "env", "GOMOD").Output() //nolint:noctx // it answers at once
	if err != nil {
		return "", fmt.Errorf("build plugins: find the module: %w", err)
	}
	root := filepath.Dir(string(module)) // the module's file ends with a line break, which Dir drops
	bin := filepath.Join(root, "bin")
	folder = filepath.Join(bin, "test-plugins")
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // tests as other users read it
		return "", fmt.Errorf("build plugins: %w", err)
	}
	lock, err := os.Open(folder) //nolint:gosec // a folder of the working copy
	if err != nil {
		return "", fmt.Errorf("build plugins: %w", err)
	}
	defer func() { _ = lock.Close() }() // this releases the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("build plugins: %w", err)
	}
	copyBuilt(filepath.Join(bin, "plugins"), folder)
	testdata := "./plugins/plugintest/testdata/"
	return folder, errors.Join(
		goBuild(root, folder, "CGO_ENABLED=0", "./plugins/formats/...", testdata+"careless", testdata+"hostile", testdata+"misbehave"),
		goBuild(root, folder, "CGO_ENABLED=1", testdata+"dynamic"),
	)
}

// copyBuilt copies plugins that `make build` has linked with the same flags: go build
// does not link a copy again that is up to date. Whatever cannot be copied is linked.
func copyBuilt(from, to string) {
	built, _ := filepath.Glob(filepath.Join(from, "*")) // none is no error
	for _, path := range built {
		target := filepath.Join(to, filepath.Base(path))
		if _, err := os.Stat(target); err == nil || filepath.Ext(path) != "" {
			continue // it is there already, or it is no program
		}
		if program, err := os.ReadFile(path); err == nil { //nolint:gosec // the build's own folder
			_ = os.WriteFile(target, program, 0o755) //nolint:gosec // a program that tests start
		}
	}
}

func goBuild(dir, folder, env string, packages ...string) error {
	build := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", folder + "/"}, packages...)...) //nolint:gosec,noctx // the packages are listed above
	build.Dir, build.Env = dir, append(os.Environ(), env)
	if printed, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build plugins: %w\n%s", err, printed)
	}
	return nil
}

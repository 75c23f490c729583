package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// baseline is the commit of the release before this one.
const baseline = "dc136f8cbdf6357353323234f89bf2e8bbbcce87"

// before builds the release before this one, with its plugins. A shallow clone lacks it, and
// so does a tree of files without a clone.
func before(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("../../.git"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this is no clone, so it does not have the release before")
	}
	if out, err := exec.Command("git", "rev-parse", "--is-shallow-repository").Output(); err == nil && strings.TrimSpace(string(out)) == "true" {
		t.Skip("this clone is shallow; git fetch --unshallow gets the release before")
	}
	program, err := builtBefore()
	noError(t, err)
	return program
}

// builtBefore builds the baseline, or what COUNTERSIGN_TEST_UPGRADE_FROM names. The
// program has no web UI, and no failpoints. It stays in bin/ for later tests, in a folder
// with its commit's name.
var builtBefore = sync.OnceValues(func() (program string, err error) {
	version := cmp.Or(os.Getenv("COUNTERSIGN_TEST_UPGRADE_FROM"), baseline)
	out, err := exec.Command("git", "rev-parse", "--verify", "--quiet", "--end-of-options", version+"^{commit}").Output()
	if err != nil {
		return "", fmt.Errorf("git does not know %s, the release from which this version is upgraded (%w): "+
			"an ordinary clone has it, and COUNTERSIGN_TEST_UPGRADE_FROM names another version", version, err)
	}
	commit := strings.TrimSpace(string(out))
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		return "", err
	}
	folder := filepath.Join(bin, "before-"+commit)
	program = filepath.Join(folder, "countersign")
	if _, err := os.Stat(program); !errors.Is(err, fs.ErrNotExist) {
		return program, err
	}
	source, err := os.MkdirTemp("", "countersign-before-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(source)) }()
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(bin, "unfinished-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(made)) }()
	archive := filepath.Join(source, "source.tar")
	for _, command := range [][]string{
		{"git", "-C", "../..", "archive", "-o", archive, commit},
		{"tar", "-x", "-C", source, "-f", archive},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	if err := compile(source, filepath.Join(made, "countersign"), filepath.Join(made, "plugins")); err != nil {
		return "", fmt.Errorf("build %s: %w", version, err)
	}
	err = os.Rename(made, folder)
	if _, other := os.Stat(program); other == nil { // another run may have been faster
		err = nil
	}
	return program, err
})

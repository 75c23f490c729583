package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)```")

// TestPluginWalkthrough pastes the commands of plugins/README.md, all of them and
// in order, into a shell in an empty folder. The first block starts the server,
// which must be the same process in the end.
func TestPluginWalkthrough(t *testing.T) {
	readme, err := os.ReadFile("../../plugins/README.md")
	noError(t, err)
	var blocks []string
	for _, found := range shellBlock.FindAllStringSubmatch(string(readme), -1) {
		blocks = append(blocks, found[1])
	}
	if len(blocks) != 7 || strings.Count(string(readme), "\n```") != 2*len(blocks) {
		t.Fatalf("the walk-through has %d blocks of commands, or some that this test does not run", len(blocks))
	}
	folder := t.TempDir()
	program := installed(t)
	path := "PATH=" + filepath.Dir(program) + string(os.PathListSeparator) + os.Getenv("PATH")
	serve := exec.Command(program, strings.Fields(strings.Replace(blocks[0], ":8080", ":0", 1))[1:]...)
	serve.Dir = folder
	s := startBy(t, serve, filepath.Join(folder, "sample-data"))

	shell := exec.CommandContext(t.Context(), "bash", "-e")
	shell.Dir, shell.Env = folder, append(os.Environ(), path, "GOFLAGS=", "GOWORK=off")
	shell.Stdin = strings.NewReader(strings.Join(blocks[1:], "\n"))
	printed, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	s.failIfEnded()
	made, err := os.ReadFile(filepath.Join(folder, "tlsa", "tlsa.txt"))
	noError(t, err)
	if record := regexp.MustCompile(`^_25\._tcp\.www\.example\.com\. IN TLSA 3 1 1 [0-9a-f]{64}\n`); !record.Match(made) {
		t.Errorf("downloaded %q", made)
	}
	if !strings.HasSuffix(string(printed), string(made)) || !slices.ContainsFunc(strings.Split(string(printed), "\n"), func(line string) bool { return strings.HasPrefix(line, "tlsa ") }) {
		t.Errorf("the format is not listed, or its file not shown:\n%s", printed)
	}
}

// installed is the program as a build leaves it, its plugins beside it, in a
// folder of its own.
func installed(t *testing.T) string {
	t.Helper()
	built := binary(t, "-tags=failpoint")
	program := filepath.Join(t.TempDir(), "countersign")
	noError(t, os.Link(built, program))
	plugins := filepath.Join(filepath.Dir(program), "plugins")
	noError(t, os.Mkdir(plugins, 0o700))
	ownPlugins(t, built, plugins)
	return program
}

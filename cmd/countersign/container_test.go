package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In a container there is no other program that could read or delete the bootstrap file:
// the program does it, with the server's settings.
func TestCommandsForContainers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bootstrap.json")
	want := []byte("{}\n")
	noError(t, os.WriteFile(file, want, 0o600))
	t.Setenv("COUNTERSIGN_BOOTSTRAP", file)
	if got := run(t, nil, binary(t), "bootstrap"); !bytes.Equal([]byte(got), want) {
		t.Errorf("printed %q", got)
	}
	run(t, nil, binary(t), "bootstrap", "--delete")
	if out, err := try(t, nil, binary(t), "bootstrap"); err == nil || !strings.Contains(out, "no such file") {
		t.Errorf("a deleted file: %v\n%s", err, out)
	}
}

// The man pages describe every command that the help shows, and have the time of the
// commit.
func TestManPages(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "man")
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	root := rootCommand()
	root.SetArgs([]string{"man", folder})
	noError(t, root.Execute())
	for _, page := range []string{"countersign", "countersign-serve", "countersign-cert-import", "countersign-plugin-add"} {
		text, err := os.ReadFile(filepath.Join(folder, page+".1"))
		noError(t, err)
		if !bytes.Contains(text, []byte("Jan 1970")) {
			t.Errorf("%s has another time:\n%.200s", page, text)
		}
	}
}

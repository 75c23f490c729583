package sdktest

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// Golden compares a rendered file with testdata/name. With the flag -update it writes
// that file first.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.MkdirAll("testdata", 0o750))
		check(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path) //nolint:gosec // the path is in testdata
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the rendered file of %d bytes differs from %s (%v); if that is intended, run the test with -update", len(got), path, err)
	}
}

// Counting is a source of salts that always returns the same bytes.
type Counting byte

var _ io.Reader = (*Counting)(nil)

// Read implements io.Reader.
func (c *Counting) Read(p []byte) (int, error) {
	for i := range p {
		*c++
		p[i] = byte(*c)
	}
	return len(p), nil
}

package sdktest

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares a rendered file with testdata/name, or makes it that file if
// the test runs with -update.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.MkdirAll("testdata", 0o750))
		check(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path) //nolint:gosec // a golden of the test's own
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file of %d bytes differs from %s (%v)", len(got), path, err)
	}
}

// Counting is a source of salts that is the same every time.
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

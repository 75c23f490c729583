package policies

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

//go:embed README.md
var readme string

// TestReadme compiles the examples of the page together and runs their tests. The
// shell commands of the page are run by a test of cmd/countersign.
func TestReadme(t *testing.T) {
	files := map[string]string{}
	for i, block := range regexp.MustCompile("(?s)\n```rego\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		suffix := ruleSuffix
		if name, _, _ := strings.Cut(block[1], "\n"); strings.HasSuffix(name, "_test") {
			suffix = testSuffix
		}
		files[fmt.Sprint("example", i, suffix)] = block[1]
	}
	r := report(t, files)
	if err := r.Err(); err != nil {
		t.Error(err)
	}
	if len(files) != 5 || len(r.Tests) != 2 {
		t.Errorf("%d examples with %d tests, want 5 with 2", len(files), len(r.Tests))
	}
	for _, code := range denialCodes {
		if !strings.Contains(readme, "`"+string(code)+"`") {
			t.Errorf("the page does not list the code %s", code)
		}
	}
	if limits := fmt.Sprintf("At most %d files, %d KiB each and %d MiB together", maxFiles, maxFileSize>>10, maxTotalSize>>20); !strings.Contains(readme, limits) {
		t.Errorf("the page does not say %q", limits)
	}
}

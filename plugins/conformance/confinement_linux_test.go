package conformance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/host"
)

// A binary that needs the system's libraries cannot be kept from all files.
func TestLinkedPluginIsNotConfinedWhole(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "linked")
	build := exec.Command("go", "build", "-o", binary, "../testdata/linked")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if printed, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build plugin: %v\n%s", err, printed)
	}
	if r, err := Run(t.Context(), Options{Binary: binary}); !errors.Is(err, host.ErrUnconfined) || !strings.Contains(err.Error(), "not linked statically") {
		t.Errorf("by default: %v\n%s", err, printed(r))
	}
	r := try(t, Options{Binary: binary})
	// Its one format is a word, whatever the job: that is not held against it.
	expect(t, r, map[string][]string{"": {"confinement"}})
}

package conformance

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sandbox"
)

// A binary that needs the system's libraries can read their folders.
func TestDynamicPluginIsNotFullyConfined(t *testing.T) {
	binary := filepath.Join(plugins, "dynamic")
	if r, err := Run(t.Context(), Options{Binary: binary}); !errors.Is(err, sandbox.ErrUnconfined) || !strings.Contains(err.Error(), "not linked statically") {
		t.Errorf("by default: %v\n%s", err, printed(r))
	}
	r := try(t, Options{Binary: binary})
	// Its only format is always the same word, which no check refuses.
	expect(t, r, map[string][]string{"": {"confinement"}})
}

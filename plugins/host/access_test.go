package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostRefusesACatalogueOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalogue.json")
	if err := os.WriteFile(path, []byte(`{"plugins":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	h, err := Open(t.Context(), Options{Catalogue: path})
	if err == nil {
		t.Fatal(h.Close(), "the host trusts a catalogue that everybody may write")
	}
	if !strings.Contains(err.Error(), "by other users") {
		t.Fatal(err)
	}
}

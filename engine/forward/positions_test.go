package forward_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/forward"
	"github.com/countersign-dev/countersign/engine/store/storetest"
)

func TestPositionFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "position")
	storetest.ForwardingPositions(t, &forward.PositionFile{Path: path}, false)
	p := &forward.PositionFile{Path: path}
	if heads, err := p.Forwarded(t.Context(), "any"); err != nil || heads["system"] != (engine.AuditHead{Seq: 9, Hash: "y"}) {
		t.Errorf("another process reads %v, %v", heads, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = &forward.PositionFile{Path: path}
	if _, err := p.Forwarded(t.Context(), "any"); err == nil {
		t.Error("a broken file is read as if nothing had been sent")
	}
}

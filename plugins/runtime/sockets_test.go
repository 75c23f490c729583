package runtime

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketFolderWithALongTMPDIR(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	s, err := OpenSockets("")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.path) > MaxSocketDir {
		t.Errorf("%s is too long for sockets", s.path)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.path); !os.IsNotExist(err) {
		t.Errorf("%s is left (%v)", s.path, err)
	}
}

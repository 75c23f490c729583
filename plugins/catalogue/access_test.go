package catalogue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A catalogue is refused if its group or others may write the file, its folder or a
// binary.
func TestAccessIsChecked(t *testing.T) {
	for _, file := range []string{FileName, ".", "pem"} {
		for _, mode := range []os.FileMode{0o720, 0o702, 0o777} {
			path := folder(t, "pem")
			changed := filepath.Join(filepath.Dir(path), file)
			noError(t, read(t, path).CheckAccess(path))
			noError(t, os.Chmod(changed, mode))
			if err := read(t, path).CheckAccess(path); err == nil || !strings.Contains(err.Error(), changed+" can be written by other users") {
				t.Errorf("%s with mode %o: %v", file, mode, err)
			}
		}
	}
	path := folder(t, "pem")
	noError(t, os.Remove(filepath.Join(filepath.Dir(path), "pem")))
	noError(t, read(t, path).CheckAccess(path)) // a missing binary is that plugin's own fault
}

// A build under a umask that lets the group write makes a catalogue that is accepted.
func TestWriteTakesTheGroupsPermission(t *testing.T) {
	path := folder(t, "pem")
	for _, file := range []string{".", "pem"} {
		noError(t, os.Chmod(filepath.Join(filepath.Dir(path), file), 0o775))
	}
	noError(t, writeBuiltIn(t, path, "pem"))
	noError(t, read(t, path).CheckAccess(path))
}

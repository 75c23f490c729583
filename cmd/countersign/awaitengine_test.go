package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// unusedAddress is an address on which nobody listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	noError(t, l.Close())
	return l.Addr().String()
}

// A start waits for engines that do not answer, says so once, and gives up in the end.
func TestAStartWaitsForItsEngines(t *testing.T) {
	t.Parallel()
	for name, setting := range map[string]string{
		"MongoDB":  "COUNTERSIGN_MONGODB_URI=mongodb://" + unusedAddress(t) + "/db?serverSelectionTimeoutMS=100",
		"Temporal": "COUNTERSIGN_TEMPORAL_ADDRESS=" + unusedAddress(t),
	} {
		base := t.TempDir()
		cmd := exec.Command(binary(t), "serve", "--data", filepath.Join(base, "data"), "--listen", "127.0.0.1:0", "--listen-admin=", "--wait", "3s")
		cmd.Env = append(os.Environ(), setting)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), name+" was not there within 3s") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if n := strings.Count(string(out), name+" is not there yet"); n != 1 {
			t.Errorf("%s: the log says %d times that the server waits:\n%s", name, n, out)
		}
	}
}

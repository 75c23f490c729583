package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/plugins/catalogue"
)

// orphanVariable makes the test program a host. Its value is the catalogue.
const orphanVariable = "COUNTERSIGN_TEST_ORPHAN_HOST"

// hostUntilKilled never returns.
func hostUntilKilled(folder string) {
	_, err := Open(context.Background(), Options{Catalogue: filepath.Join(folder, catalogue.FileName), SocketDir: filepath.Join(folder, "s")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("open")
	select {}
}

// startHost starts this program as a host of the entries. The folder has its plugins
// and, in s, its sockets.
func startHost(t *testing.T, entries ...catalogue.Entry) (host *exec.Cmd, out io.Reader, dir string) {
	t.Helper()
	catalogue := folder(t, entries...)
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	link(t, filepath.Dir(catalogue), dir)
	host = exec.Command("/proc/self/exe") // this path works for every user and folder
	host.Env = append(os.Environ(), orphanVariable+"="+dir)
	host.Stderr = os.Stderr
	if out, err = host.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Process.Kill() }) // only a failed test leaves it running
	return host, out, dir
}

// A plugin ends with its host even if it does not watch the host as the SDK does.
func TestKilledHostLeavesNoPluginThatIgnoresIt(t *testing.T) {
	host, _, _ := startHost(t, misbehaving("mute", nil))
	var plugins []int
	eventually(t, "the plugin runs", func() bool {
		plugins = children(t, host.Process.Pid)
		return len(plugins) == 1
	})
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	eventually(t, "an orphaned plugin ends", func() bool { return gone(plugins[0]) })
}

func TestKilledHostLeavesNoPlugin(t *testing.T) {
	host, out, dir := startHost(t, builtIn(t, "pem", "der")...)
	listed := 2
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatalf("the host did not open: %v", err)
	}
	plugins := children(t, host.Process.Pid)
	if len(plugins) != listed {
		t.Fatalf("the host runs %v", plugins)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // it was killed
	for _, pid := range plugins {
		eventually(t, "an orphaned plugin ends", func() bool { return gone(pid) })
	}
	// The next host that uses the folder removes what the killed one left.
	if left, err := filepath.Glob(filepath.Join(dir, "s", "*")); err != nil || len(left) != listed {
		t.Errorf("the killed host left %v (%v)", left, err)
	}
	open(t, Options{Catalogue: filepath.Join(dir, catalogue.FileName), SocketDir: filepath.Join(dir, "s")})
	if left, err := filepath.Glob(filepath.Join(dir, "s", "*")); err != nil || len(left) != listed {
		t.Errorf("the folder has more than the sockets of the plugins: %v (%v)", left, err)
	}
}

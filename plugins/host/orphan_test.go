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

// orphanVariable makes the test program a host of the catalogue it names.
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

// startHost starts this program as a host of the entries. Its plugins and, in
// s, its sockets are in the folder.
func startHost(t *testing.T, entries ...catalogue.Entry) (host *exec.Cmd, out io.Reader, dir string) {
	t.Helper()
	catalogue := folder(t, entries...)
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	link(t, filepath.Dir(catalogue), dir)
	host = exec.Command("/proc/self/exe") // by whatever user, in whatever folder it was built
	host.Env = append(os.Environ(), orphanVariable+"="+dir)
	host.Stderr = os.Stderr
	if out, err = host.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Process.Kill() }) // dead already unless the test failed
	return host, out, dir
}

// A plugin that does not watch its host, as the SDK has it do, ends too.
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
	// The next host on the folder wipes what the killed one left in it.
	if left, err := filepath.Glob(filepath.Join(dir, "s", "*")); err != nil || len(left) != listed {
		t.Errorf("the killed host left %v (%v)", left, err)
	}
	open(t, Options{Catalogue: filepath.Join(dir, catalogue.FileName), SocketDir: filepath.Join(dir, "s")})
	if left, err := filepath.Glob(filepath.Join(dir, "s", "*")); err != nil || len(left) != listed {
		t.Errorf("beside the sockets of the plugins there is more: %v (%v)", left, err)
	}
}

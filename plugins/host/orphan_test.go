package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// orphanVariable makes the test program a host of the catalogue it names.
const orphanVariable = "COUNTERSIGN_TEST_ORPHAN_HOST"

// hostUntilKilled never returns.
func hostUntilKilled(folder string) {
	_, err := Open(context.Background(), Options{Catalogue: filepath.Join(folder, CatalogueName), SocketDir: filepath.Join(folder, "s")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("open")
	select {}
}

func TestKilledHostLeavesNoPlugin(t *testing.T) {
	catalogue, listed := folder(t, builtIn(t)...), len(builtIn(t))
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	link(t, filepath.Dir(catalogue), dir)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host := exec.Command(self)
	host.Env = append(os.Environ(), orphanVariable+"="+dir)
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
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
	open(t, Options{Catalogue: filepath.Join(dir, CatalogueName), SocketDir: filepath.Join(dir, "s")})
	if left, err := filepath.Glob(filepath.Join(dir, "s", "*")); err != nil || len(left) != listed {
		t.Errorf("beside the sockets of the plugins there is more: %v (%v)", left, err)
	}
}

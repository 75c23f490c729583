package embedded

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
	"go.temporal.io/server/common/testing/freeport"
	"go.uber.org/goleak"
)

func TestLostPortIsReplaced(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	store, err := openStore(Options{Dir: t.TempDir(), Namespace: "countersign"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{store: store, log: discard}
	defer s.Stop()
	var calls int
	err = s.run(func() int {
		if calls++; calls == 1 {
			return taken.Addr().(*net.TCPAddr).Port
		}
		return freeport.MustGetFreePort()
	})
	if err != nil {
		t.Fatal(err)
	}
	_, stop := mustWork(t, s)
	stop()
}

// left lists the goroutines that Temporal 1.30 keeps after Stop: those of the gRPC
// connections between its services, which it never closes, and one refresh loop.
var left = []goleak.Option{
	goleak.IgnoreTopFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	goleak.IgnoreTopFunction("google.golang.org/grpc.(*addrConn).resetTransportAndUnlock"),
	goleak.IgnoreTopFunction("go.temporal.io/server/service/worker.(*perNamespaceWorkerManager).periodicRefresh"),
}

func TestStopLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ignore := append(left, goleak.IgnoreCurrent())
	s := start(t, Options{Dir: dir})
	if len(openFiles(t, dir)) == 0 {
		t.Fatal("the database is not among this process's files")
	}
	_, stop := mustWork(t, s)
	stop()
	s.Stop()
	if open := openFiles(t, dir); len(open) > 0 {
		t.Errorf("files left open: %v", open)
	}
	var err error
	until(t, "the goroutines end", func() bool { err = goleak.Find(ignore...); return err == nil })
}

// openFiles lists this process's files and sockets whose name has a prefix.
func openFiles(t *testing.T, prefix string) (names []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names
}

func TestLoopbackOnly(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	defer s.Stop()
	_, stop := mustWork(t, s)
	defer stop()
	ours := openFiles(t, "socket:")
	listening := 0
	for _, protocol := range []string{"tcp", "tcp6", "udp", "udp6"} {
		table, err := os.ReadFile("/proc/net/" + protocol)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range strings.Split(string(table), "\n")[1:] {
			// The columns of proc(5): 1 and 2 are the addresses, 3 the state, 9 the inode.
			f := strings.Fields(row)
			if len(f) < 10 || !slices.Contains(ours, "socket:["+f[9]+"]") {
				continue
			}
			const loopback, unspecified, listen = "0100007F", "00000000", "0A"
			local, remote := f[1][:len(f[1])-5], f[2][:len(f[2])-5]
			if f[3] == listen && remote == unspecified {
				listening++
				remote = loopback
			}
			if local != loopback || remote != loopback {
				t.Errorf("%s socket %s to %s", protocol, f[1], f[2])
			}
		}
	}
	if listening == 0 {
		t.Error("no listener found: the test looks in the wrong place")
	}
}

func TestLoggerPassesWarningsUntilStop(t *testing.T) {
	var out strings.Builder
	var stopping atomic.Bool
	l := log.With(logger{slog.New(slog.NewTextHandler(&out, nil)), &stopping}, tag.Service("history"))
	l.Info("dropped")
	l.Warn("careful", tag.Error(errors.New("boom")))
	if got := out.String(); strings.Contains(got, "dropped") || !strings.Contains(got, `level=WARN msg=careful service=history error=boom`) {
		t.Errorf("logged %q", got)
	}
	stopping.Store(true)
	out.Reset()
	l.Error("lost a peer")
	l.Fatal("lost the listener")
	if out.Len() > 0 {
		t.Errorf("logged while stopping: %q", &out)
	}
}

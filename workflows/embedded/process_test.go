package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
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
	credential, err := newCredential()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{store: store, credential: credential, log: discard}
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
	if len(openFiles(t, os.Getpid(), dir)) == 0 {
		t.Fatal("the database is not among this process's files")
	}
	_, stop := mustWork(t, s)
	stop()
	s.Stop()
	if open := openFiles(t, os.Getpid(), dir); len(open) > 0 {
		t.Errorf("files left open: %v", open)
	}
	var err error
	until(t, "the goroutines end", func() bool { err = goleak.Find(ignore...); return err == nil })
}

// openFiles lists a process's files and sockets whose name has a prefix.
func openFiles(t *testing.T, pid int, prefix string) (names []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
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

// socket is one row of the kernel's tables of sockets, with the addresses as those
// tables have them: in hexadecimal, in the machine's byte order.
type socket struct {
	protocol, local, remote string
	port                    uint16 // the local one
	listening               bool
}

// sockets lists the Internet sockets of a process.
func sockets(t *testing.T, pid int) (all []socket) {
	t.Helper()
	ours := openFiles(t, pid, "socket:")
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
			local, port, _ := strings.Cut(f[1], ":")
			remote, _, _ := strings.Cut(f[2], ":")
			number, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			const listen = "0A"
			all = append(all, socket{protocol, local, remote, uint16(number), f[3] == listen})
		}
	}
	return all
}

func TestLoopbackOnly(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	defer s.Stop()
	_, stop := mustWork(t, s)
	defer stop()
	listening := 0
	for _, k := range sockets(t, os.Getpid()) {
		const loopback, unspecified = "0100007F", "00000000"
		if k.listening && k.remote == unspecified {
			listening++
			k.remote = loopback
		}
		if k.local != loopback || k.remote != loopback {
			t.Errorf("a socket that is not on the loopback interface: %+v", k)
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

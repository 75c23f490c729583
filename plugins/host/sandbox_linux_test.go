package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sandbox"
)

// everything is what a sandbox enforces if the kernel supports all of it.
var everything = []string{
	sandbox.Privileges, sandbox.Network, sandbox.Files, sandbox.Processes,
	sandbox.Memory, sandbox.OpenFiles, sandbox.Threads, sandbox.CPU,
}

// hostile returns the entry of the plugin that tries to escape.
func hostile() catalogue.Entry {
	return catalogue.Entry{Name: "hostile", Path: "hostile", Formats: []string{
		"probe", "hostile-pid", "allocate", "giant", "spin", "spin-inside", "threads", "files", "litter", "flood",
	}}
}

// requireFullSandbox skips the test if the kernel cannot enforce the whole sandbox.
func requireFullSandbox(t *testing.T, s engine.PluginState) {
	t.Helper()
	if len(s.Sandbox.Missing) > 0 {
		t.Skipf("this system does not enforce %q", s.Sandbox.Missing)
	}
}

// probe makes the hostile plugin try one operation and returns the result.
func probe(t *testing.T, h *Host, what, target string) string {
	t.Helper()
	j := job(t, ed25519Job, "probe")
	j.Options = fmt.Sprintf(`{"what":%q,"target":%q}`, what, target)
	return string(render(t, h, j))
}

// outside has the targets of the probes outside the sandbox, and detects access.
type outside struct {
	tcp, unix, abstract net.Listener
	udp, datagrams      net.PacketConn
	file                string
	descriptor          int
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	dir, err := os.MkdirTemp("", "cs") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := &outside{file: filepath.Join(dir, "data"), descriptor: 50}
	for _, err := range []error{
		os.WriteFile(o.file, []byte("CANARY"), 0o644),
		listen(t, &o.tcp, "tcp", "127.0.0.1:0"),
		listen(t, &o.unix, "unix", filepath.Join(dir, "socket")),
		listen(t, &o.abstract, "unix", "@countersign-test-"+strconv.Itoa(os.Getpid())),
		receive(t, &o.udp, "udp", "127.0.0.1:0"),
		receive(t, &o.datagrams, "unixgram", filepath.Join(dir, "datagrams")),
		unix.Dup3(2, o.descriptor, 0), // as if the parent of the host had left it open
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = unix.Close(o.descriptor) })
	return o
}

func listen(t *testing.T, into *net.Listener, network, address string) (err error) {
	if *into, err = net.Listen(network, address); err == nil {
		t.Cleanup(func() { _ = (*into).Close() })
	}
	return err
}

func receive(t *testing.T, into *net.PacketConn, network, address string) (err error) {
	if *into, err = net.ListenPacket(network, address); err == nil {
		t.Cleanup(func() { _ = (*into).Close() })
	}
	return err
}

// untouched checks that the plugin reached no target.
func (o *outside) untouched(t *testing.T) {
	t.Helper()
	for _, l := range []net.Listener{o.tcp, o.unix, o.abstract} {
		_ = l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Unix(1, 0))
		if c, err := l.Accept(); err == nil {
			t.Errorf("a connection came to %s from %s", l.Addr(), c.RemoteAddr())
		}
	}
	for _, c := range []net.PacketConn{o.udp, o.datagrams} {
		_ = c.SetReadDeadline(time.Unix(1, 0))
		if n, from, err := c.ReadFrom(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes came to %s from %s", n, c.LocalAddr(), from)
		}
	}
	if text, err := os.ReadFile(o.file); err != nil || string(text) != "CANARY" {
		t.Errorf("the file is %q now (%v)", text, err)
	}
	if info, err := os.Stat(o.file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file is %v now (%v)", info, err)
	}
}

// attempts are pairs of a probe and its target.
func (o *outside) attempts() [][2]string {
	self := strconv.Itoa(os.Getpid())
	return [][2]string{
		{"dial tcp", o.tcp.Addr().String()}, {"dial udp", o.udp.LocalAddr().String()}, {"look up", "localhost.localdomain"},
		{"dial unix", o.unix.Addr().String()}, {"dial unix", o.abstract.Addr().String()}, {"send unix", o.datagrams.LocalAddr().String()},
		{"listen tcp", "127.0.0.1:0"}, {"raw socket", ""}, {"netlink", ""}, {"vsock", ""}, {"io_uring", ""},
		{"read", "/etc/passwd"}, {"read", o.file}, {"read", "/proc/" + self + "/environ"}, {"read", "/proc/self/environ"}, {"read", "/proc/self/maps"},
		{"list", "/"}, {"list", "/proc/self/fd"}, {"stat", o.file}, {"path", o.file}, {"list", filepath.Dir(o.file)},
		{"write", o.file}, {"write", o.file + "2"}, {"write", "/tmp/countersign-hostile"}, {"write", "/dev/shm/countersign-hostile"},
		{"mkdir", o.file + "3"}, {"remove", o.file}, {"chmod", o.file}, {"link", o.file}, {"own folder", ""},
		{"start", "/bin/true"}, {"start", "/proc/self/exe"}, {"fork", ""}, {"setsid", ""},
		{"signal", self}, {"signal", "1"}, {"signal", "-1"}, {"trace", self}, {"limit other", self}, {"outlive", ""},
		{"namespace", ""}, {"bind mount", "/etc"}, {"user", ""}, {"huge pages", ""}, {"shared memory", ""}, {"memory file", ""}, {"raise limits", ""}, {"descriptor", strconv.Itoa(o.descriptor)},
	}
}

func TestHostilePluginCannotEscape(t *testing.T) {
	t.Setenv("COUNTERSIGN_SECRET", "CANARY")
	o := newOutside(t)
	h, _ := open(t, Options{}, hostile())
	s := state(t, h, "hostile")
	requireFullSandbox(t, s)
	if got := strings.Join(s.Sandbox.Enforced, ", "); got != strings.Join(everything, ", ") {
		t.Errorf("enforced: %s", got)
	}
	for _, attempt := range o.attempts() {
		if got := probe(t, h, attempt[0], attempt[1]); !strings.HasPrefix(got, "refused: ") {
			t.Errorf("%s %s: %s", attempt[0], attempt[1], got)
		}
	}
	if got := probe(t, h, "environment", ""); strings.Contains(got, "CANARY") {
		t.Errorf("its environment: %s", got)
	}
	if err := dialIn(t, h); err == nil {
		t.Error("a process outside can connect to the plugin")
	}
	o.untouched(t)
	plugin := children(t, os.Getpid())
	if len(plugin) != 1 {
		t.Fatalf("the host runs %v", plugin)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", plugin[0]))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"NoNewPrivs:\t1", "Seccomp:\t2", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000"} {
		if !strings.Contains(string(status), line+"\n") {
			t.Errorf("its status has no line %s:\n%s", line, status)
		}
	}
	if nice, err := unix.Getpriority(unix.PRIO_PROCESS, plugin[0]); err != nil || 20-nice < 5 { // the system call returns 20 minus the priority
		t.Errorf("its priority is that of the host or higher: %d (%v)", nice, err)
	}
	if s := state(t, h, "hostile"); s.State != runtime.StateRunning || s.Detail != "" {
		t.Errorf("got %+v", s)
	}
}

// dialIn makes the hostile plugin listen on an abstract socket, which file permissions
// do not protect, and connects to it as any user could.
func dialIn(t *testing.T, h *Host) error {
	t.Helper()
	name := "@countersign-hostile-" + strconv.Itoa(pid(t, h, "hostile-pid"))
	if got := probe(t, h, "listen abstract", name); got != "done: listening" {
		return errors.New(got)
	}
	c, err := net.Dial("unix", name)
	if err == nil {
		_ = c.Close()
	}
	return err
}

func TestOpenFilesAreLimited(t *testing.T) {
	limited := hostile()
	limited.Limits.Files = 20
	for limit, e := range map[int]catalogue.Entry{sandbox.DefaultLimits.Files: hostile(), 20: limited} {
		t.Run(strconv.Itoa(limit), func(t *testing.T) {
			h, _ := open(t, Options{}, e)
			requireFullSandbox(t, state(t, h, "hostile"))
			count, reason, _ := strings.Cut(string(render(t, h, job(t, rsaJob, "files"))), ": ")
			if n, err := strconv.Atoi(count); err != nil || n >= limit || reason != unix.EMFILE.Error() {
				t.Errorf("it opened %s of %d (%s)", count, limit, reason)
			}
			if s := state(t, h, "hostile"); s.State != runtime.StateRunning || s.Detail != "" {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestLimitsOfTheCatalogue(t *testing.T) {
	greedy, small := hostile(), hostile()
	greedy.Name, greedy.Limits.Threads = "greedy", sandbox.DefaultLimits.Threads+1
	small.Limits.MemoryMiB = 64
	h, _ := open(t, Options{}, greedy, small)
	if s := state(t, h, "greedy"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, "its limit threads in the catalogue is 257; it must be from 1 to 256") {
		t.Errorf("got %+v", s)
	}
	requireFullSandbox(t, state(t, h, "hostile"))
	wantFailure(t, h, job(t, rsaJob, "allocate"), "its plugin")
	eventually(t, "its state says so", func() bool { return strings.Contains(state(t, h, "hostile").Detail, "64 MiB of memory") })
}

// missingFiles is what the state reports as missing for a plugin that needs the
// system's libraries, because that plugin can read their folders.
const missingFiles = "no files: it reads the system's libraries, because it is not linked statically"

func dynamicPlugin() catalogue.Entry {
	return catalogue.Entry{Name: "dynamic", Path: "dynamic", Formats: []string{"dynamic"}}
}

func TestMissingMeasuresAreReported(t *testing.T) {
	h, log := open(t, Options{}, append(builtIn(t, "pem"), dynamicPlugin())...)
	render(t, h, job(t, rsaJob, "dynamic"))
	requireFullSandbox(t, state(t, h, "pem"))
	if s := state(t, h, "dynamic"); len(s.Sandbox.Missing) != 1 || !strings.HasPrefix(s.Sandbox.Missing[0], missingFiles) || len(s.Sandbox.Enforced) != len(everything)-1 {
		t.Errorf("got %+v", s)
	}
	if !strings.Contains(log.String(), `"level":"WARN","msg":"plugin runs although it is not fully confined`) {
		t.Error("the log does not contain the warning")
	}
}

func TestRequiredSandboxIsEnforced(t *testing.T) {
	path := folder(t, append(builtIn(t, "pem"), dynamicPlugin())...)
	h, _ := open(t, Options{Catalogue: path, Sandbox: sandbox.ModeRequire})
	requireFullSandbox(t, state(t, h, "pem"))
	if s := state(t, h, "dynamic"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, "it cannot be confined as required: "+missingFiles) {
		t.Errorf("got %+v", s)
	}
	render(t, h, job(t, rsaJob, "cert"))
	if _, err := Open(t.Context(), Options{Catalogue: path, Sandbox: "off"}); err == nil || !strings.Contains(err.Error(), `"off"`) {
		t.Errorf("got %v", err)
	}
}

// Neither successful, failed nor repeated starts leave a descriptor open in the host.
func TestStartsLeaveNoDescriptor(t *testing.T) {
	path := folder(t, hostile(), dynamicPlugin(), misbehaving("exits", nil))
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	var before int
	for round := range 3 { // in the first round, the runtime opens descriptors that it keeps
		h, err := Open(t.Context(), Options{Catalogue: path, Sandbox: sandbox.ModeRequire, Logger: debugTo(&logged{})})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if state(t, h, "hostile").State == runtime.StateRunning {
				_ = unix.Kill(pid(t, h, "hostile-pid"), unix.SIGKILL) // the next render is on the next process
				pid(t, h, "hostile-pid")
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			before = count()
		}
	}
	eventually(t, "as many descriptors are open as before", func() bool { return count() <= before })
}

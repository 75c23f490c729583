package host

import (
	"errors"
	"os"
	"os/exec"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// ownBinaries copies the plugins into a folder that the user owns.
func ownBinaries(t *testing.T, user int) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.CopyFS(dir, os.DirFS(binaries(t))), os.Chown(dir, user, user)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runTests runs tests of this program in a new process, with the plugins in a folder.
func runTests(dir, tests string, attr *syscall.SysProcAttr, env ...string) (output string, err error) {
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", tests)
	cmd.Env = append(env, readyVariable+"="+dir, "TMPDIR="+dir, "PATH="+os.Getenv("PATH"))
	cmd.SysProcAttr = attr
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// The sandbox needs no privileges. If the tests run as root, the tests of the sandbox
// run again as a user without privileges, and as root without the capability to
// create network namespaces, as in containers.
func TestSandboxNeedsNoPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests already run without privileges")
	}
	for _, user := range []int{nobody, 0} {
		t.Run(strconv.Itoa(user), func(t *testing.T) {
			goruntime.LockOSThread() // never unlocked: the thread has lost a capability and ends with this test
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
			output, err := runTests(ownBinaries(t, user), "^(TestHostilePluginCannot|TestMissingMeasures|TestRequiredSandbox|TestOpenFiles|TestLimits|TestKilledHost)",
				&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}) //nolint:gosec // ids are positive
			if err != nil {
				t.Errorf("without privileges: %v\n%s", err, output)
			}
			passed, skipped := strings.Count(output, "\n--- PASS: "), strings.Count(output, "\n--- SKIP: ")
			if passed+skipped < 7 {
				t.Errorf("without privileges %d tests passed\n%s", passed, output)
			}
			if skipped > 0 {
				t.Logf("without privileges %d tests were skipped\n%s", skipped, output)
			}
		})
	}
}

// noNetworksVariable is set if TestWithoutANetworkNamespace runs in its own user
// namespace, in which it can forbid network namespaces.
const noNetworksVariable = "COUNTERSIGN_TEST_NO_NETWORKS"

// If the plugin cannot have its own network namespace, its state says so.
func TestWithoutANetworkNamespace(t *testing.T) {
	if os.Getenv(noNetworksVariable) == "" {
		output, err := runTests(ownBinaries(t, os.Geteuid()), "^"+t.Name()+"$", &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}, noNetworksVariable+"=1")
		switch {
		case errors.Is(err, unix.EPERM):
			t.Skip("this system has no user namespaces, so all tests run without network namespaces")
		case err != nil:
			t.Errorf("without network namespaces: %v\n%s", err, output)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_net_namespaces", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	const missingNetwork = "no network: it may listen on an abstract socket"
	h, _ := open(t, Options{}, hostile())
	s := state(t, h, "hostile")
	if len(s.Sandbox.Missing) == 0 || !strings.HasPrefix(s.Sandbox.Missing[0], missingNetwork) {
		t.Errorf("got %+v", s)
	}
	if err := dialIn(t, h); err != nil {
		t.Errorf("cannot connect to the plugin: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, _ = open(t, Options{Catalogue: h.options.Catalogue, Sandbox: sandbox.ModeRequire})
	if s := state(t, h, "hostile"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, "it cannot be confined as required: "+missingNetwork) {
		t.Errorf("got %+v", s)
	}
}

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

// ownBinaries copies the plugins into a folder of the user's, who may own nothing
// else.
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

// again runs tests of this program once more, on the plugins in a folder.
func again(dir, tests string, attr *syscall.SysProcAttr, env ...string) (said string, err error) {
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run", tests)
	cmd.Env = append(env, readyVariable+"="+dir, "TMPDIR="+dir, "PATH="+os.Getenv("PATH"))
	cmd.SysProcAttr = attr
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// The sandbox takes no privileges. Where the tests run as root, the ones about
// it run once more as a user who has none, and as root the way containers have
// it, without the capability that makes networks.
func TestSandboxTakesNoPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests have no privileges already")
	}
	for _, user := range []int{nobody, 0} {
		t.Run(strconv.Itoa(user), func(t *testing.T) {
			goruntime.LockOSThread() // never unlocked: the thread has lost its capability, so it must end with this test
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
				t.Fatal(err)
			}
			said, err := again(ownBinaries(t, user), "^(TestHostilePluginGets|TestWhatIs|TestOpenFiles|TestLimits|TestKilledHost)",
				&syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}) //nolint:gosec // ids are positive
			if err != nil {
				t.Errorf("without privileges: %v\n%s", err, said)
			}
			passed, skipped := strings.Count(said, "\n--- PASS: "), strings.Count(said, "\n--- SKIP: ")
			if passed+skipped < 7 {
				t.Errorf("without privileges %d tests passed\n%s", passed, said)
			}
			if skipped > 0 {
				t.Logf("without privileges %d tests were skipped\n%s", skipped, said)
			}
		})
	}
}

// lonelyVariable is set where TestWithoutANetworkOfItsOwn may take from itself,
// being in a user namespace of its own, that it can make networks.
const lonelyVariable = "COUNTERSIGN_TEST_NO_NETWORKS"

// Where the system cannot give a plugin its own network, the plugin's state says so.
func TestWithoutANetworkOfItsOwn(t *testing.T) {
	if os.Getenv(lonelyVariable) == "" {
		said, err := again(ownBinaries(t, os.Geteuid()), "^"+t.Name()+"$", &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}, lonelyVariable+"=1")
		switch {
		case errors.Is(err, unix.EPERM):
			t.Skip("this system makes no user namespaces, so every test is one without a network of its own")
		case err != nil:
			t.Errorf("without networks: %v\n%s", err, said)
		}
		return
	}
	if err := os.WriteFile("/proc/sys/user/max_net_namespaces", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	const reason = "no network: it may listen on an abstract socket"
	h, _ := open(t, Options{}, hostile())
	s := state(t, h, "hostile")
	if len(s.Sandbox.Missing) == 0 || !strings.HasPrefix(s.Sandbox.Missing[0], reason) {
		t.Errorf("got %+v", s)
	}
	if err := dialIn(t, h); err != nil {
		t.Errorf("what it listens on cannot be reached: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, _ = open(t, Options{Catalogue: h.options.Catalogue, Sandbox: sandbox.ModeRequire})
	if s := state(t, h, "hostile"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, "it cannot be confined as required: "+reason) {
		t.Errorf("got %+v", s)
	}
}

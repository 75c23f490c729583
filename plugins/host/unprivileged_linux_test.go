package host

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// The sandbox takes no privileges. Where the tests run as root, the ones about
// it run once more as a user who has none.
func TestSandboxTakesNoPrivileges(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests have no privileges already")
	}
	dir, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := errors.Join(os.CopyFS(dir, os.DirFS(binaries(t))), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	again := exec.Command("/proc/self/exe", "-test.v", "-test.run", "^(TestHostilePluginGets|TestWhatIs|TestOpenFiles|TestLimits|TestKilledHost)")
	again.Env = []string{readyVariable + "=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	said, err := again.CombinedOutput()
	if err != nil {
		t.Errorf("without privileges: %v\n%s", err, said)
	}
	passed, skipped := strings.Count(string(said), "\n--- PASS: "), strings.Count(string(said), "\n--- SKIP: ")
	if passed+skipped < 7 {
		t.Errorf("without privileges %d tests passed\n%s", passed, said)
	}
	if skipped > 0 {
		t.Logf("without privileges %d tests were skipped\n%s", skipped, said)
	}
}

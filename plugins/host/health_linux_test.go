package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/plugins/runtime"
)

// stop stops a process. Until the thread that receives the signal has run, the
// others may still answer.
func stop(t *testing.T, process int) {
	t.Helper()
	if err := syscall.Kill(process, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is stopped", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", process))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(file string) bool {
			stat, err := os.ReadFile(file) //nolint:gosec // of the process under test
			return err == nil && !bytes.Contains(stat, []byte(") T "))
		})
	})
}

// A stopped plugin is replaced even if no render needs it. A plugin that merely has
// nothing to do is not.
func TestStoppedPluginIsReplaced(t *testing.T) {
	h, _ := open(t, Options{health: runtime.Health{Every: 20 * time.Millisecond, Timeout: 3 * time.Second}}, bad(), misbehaving("crash-idle", nil, "crash-idle"))
	before, idle := pid(t, h), pid(t, h, "crash-idle")
	stop(t, before)
	eventually(t, "its state says so", func() bool {
		s := state(t, h, "bad")
		return s.State == runtime.StateRunning && strings.Contains(s.Detail, "the last process ended: it did not answer two health checks in a row")
	})
	if after := pid(t, h); after == before || !gone(before) {
		t.Errorf("the process was %d and is %d", before, after)
	}
	if after := pid(t, h, "crash-idle"); after != idle {
		t.Errorf("the idle process was %d and is %d", idle, after)
	}
}

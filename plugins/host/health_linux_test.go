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
)

// stop has a process stand still. Until the thread that gets the signal has run,
// the others may still answer.
func stop(t *testing.T, process int) {
	t.Helper()
	if err := syscall.Kill(process, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it stands still", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", process))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(file string) bool {
			stat, err := os.ReadFile(file) //nolint:gosec // of the process under test
			return err == nil && !bytes.Contains(stat, []byte(") T "))
		})
	})
}

// A plugin that stands still is found out though nobody asks it for anything, and
// one that only has nothing to do is left alone.
func TestStoppedPluginIsReplaced(t *testing.T) {
	h, _ := open(t, Options{health: health{every: 20 * time.Millisecond, within: 3 * time.Second}}, bad(), misbehaving("crash-idle", nil, "crash-idle"))
	before, idle := pid(t, h), pid(t, h, "crash-idle")
	stop(t, before)
	eventually(t, "its state says so", func() bool {
		s := state(t, h, "bad")
		return s.State == StateRunning && strings.Contains(s.Detail, "the last process ended: "+unresponsive)
	})
	if after := pid(t, h); after == before || !gone(before) {
		t.Errorf("the process was %d and is %d", before, after)
	}
	if after := pid(t, h, "crash-idle"); after != idle {
		t.Errorf("the idle process was %d and is %d", idle, after)
	}
}

// A render that is answered meanwhile makes up for a check that is not.
func TestRendersCountAsHealth(t *testing.T) {
	h, _ := open(t, Options{health: health{every: time.Hour}}, bad())
	stop(t, pid(t, h))
	in := h.view.Load().plugins[0].current
	var p pulse
	for i, step := range []struct{ answered, lost bool }{
		{true, false}, {false, false}, {true, false}, {false, false}, {false, true},
	} {
		if step.answered {
			in.answered.Add(1)
		}
		if lost := p.check(t.Context(), in, 100*time.Millisecond); lost != step.lost {
			t.Errorf("check %d: lost: %v", i, lost)
		}
	}
}

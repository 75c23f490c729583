//go:build !race

package host

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/countersign-dev/countersign/plugins/catalogue"
)

// holdings are what the host has of the system's.
type holdings struct {
	processes, files, descriptors, goroutines int
	heap                                      uint64 // bytes in use
}

func holds(t *testing.T, temp string) (h holdings) {
	t.Helper()
	h.processes, h.goroutines = len(children(t, os.Getpid())), runtime.NumGoroutine()
	if err := filepath.WalkDir(temp, func(string, os.DirEntry, error) error { h.files++; return nil }); err != nil {
		t.Fatal(err)
	}
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC() // what the first one found to be finalised
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	h.descriptors, h.heap = len(descriptors), memory.HeapAlloc
	return h
}

// most is how much more memory may be in use: what the runtime keeps or not.
const most = 8 << 20

func (h holdings) within(before holdings) bool {
	return h.processes <= before.processes && h.files <= before.files && h.descriptors <= before.descriptors &&
		h.goroutines <= before.goroutines && h.heap <= before.heap+most
}

// crash kills each plugin n times, each time once it has rendered, and then
// starts it again, as an operator would: otherwise the delays would grow.
func crash(t *testing.T, h *Host, plugins []catalogue.Entry, n int) {
	var crashes sync.WaitGroup
	for _, plugin := range plugins {
		crashes.Go(func() {
			for range n {
				if err := syscall.Kill(pid(t, h, plugin.Name), syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			if err := h.Reload(plugin.Name); err != nil {
				t.Error(err)
			}
		})
	}
	crashes.Wait()
}

// A plugin may crash any number of times: after many crashes the host uses no more
// of anything than after the first of them, and nothing when it is closed.
func TestCrashesLeaveNothingBehind(t *testing.T) {
	const crashesEach = 5
	count, stages := 3, []int{15, 45} // the first stage fills caches and pools
	if soak {
		count, stages = 10, []int{100, 2000}
	}
	var plugins []catalogue.Entry
	for i := range count {
		name := fmt.Sprintf("crash-%d", i)
		plugins = append(plugins, misbehaving(name, nil, name))
	}
	path, temp := folder(t, plugins...), t.TempDir()
	t.Setenv("TMPDIR", temp)
	h, err := Open(t.Context(), Options{Catalogue: path, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	before := holds(t, temp)
	t.Logf("before: %+v", before)
	before.heap = math.MaxInt64
	crashed := 0
	for _, until := range stages {
		for ; crashed < until && !t.Failed(); crashed += crashesEach * len(plugins) {
			crash(t, h, plugins, crashesEach)
		}
		var now holdings
		eventually(t, "the host uses no more than before", func() bool {
			now = holds(t, temp)
			return now.within(before)
		})
		t.Logf("after %d crashes: %+v", crashed, now)
		before = now
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left := holds(t, temp); left.processes > 0 || left.files > 1 { // the folder itself
		t.Errorf("left: %+v", left)
	}
}

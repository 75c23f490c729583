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

// resources are the system resources that the host uses.
type resources struct {
	processes, files, descriptors, goroutines int
	heap                                      uint64 // bytes in use
}

func measure(t *testing.T, temp string) (h resources) {
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
	runtime.GC() // frees what the first one finalised
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	h.descriptors, h.heap = len(descriptors), memory.HeapAlloc
	return h
}

// heapTolerance is how many bytes more the heap may use, because the runtime frees
// memory at times of its own choice.
const heapTolerance = 8 << 20

func (h resources) within(before resources) bool {
	return h.processes <= before.processes && h.files <= before.files && h.descriptors <= before.descriptors &&
		h.goroutines <= before.goroutines && h.heap <= before.heap+heapTolerance
}

// crash kills each plugin n times, each time after a render. Then it reloads the
// plugin; otherwise the delays between restarts would grow.
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

// After many crashes of its plugins, the host uses no more resources than after the
// first ones. When it is closed, nothing is left.
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
	before := measure(t, temp)
	t.Logf("before: %+v", before)
	before.heap = math.MaxInt64
	crashed := 0
	for _, until := range stages {
		for ; crashed < until && !t.Failed(); crashed += crashesEach * len(plugins) {
			crash(t, h, plugins, crashesEach)
		}
		var now resources
		eventually(t, "the host uses no more than before", func() bool {
			now = measure(t, temp)
			return now.within(before)
		})
		t.Logf("after %d crashes: %+v", crashed, now)
		before = now
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left := measure(t, temp); left.processes > 0 || left.files > 1 { // one file is the folder itself
		t.Errorf("left: %+v", left)
	}
}

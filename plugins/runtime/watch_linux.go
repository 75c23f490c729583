package runtime

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// The kernel does not count threads, memory and CPU time of a process without
// privileges, so the host looks at them. Between two looks a plugin can exceed a
// limit; the kernel refuses what goes far beyond (package sandbox).
const (
	watchEvery = 100 * time.Millisecond
	// cpuReserve is the CPU time that a plugin may use beyond one CPU for each open
	// render, for example to finish what a caller no longer waits for. It refills
	// at a tenth of a CPU, and with what renders leave of their time.
	cpuReserve     = 5 * time.Second
	cpuRefillShare = 10
	// maxSocketFiles is how many files may be in the plugin's socket folder.
	maxSocketFiles = 16
	// tickTime is the unit of /proc/PID/stat (proc(5)), the same everywhere.
	tickTime = time.Second / 100
)

// usage is what a process uses at one moment.
type usage struct {
	cpu     time.Duration // since it started
	threads int
	memory  int64 // bytes
	files   int   // in its socket folder
}

// cpuBudget is what a process has left of its cpuReserve.
type cpuBudget struct {
	left           time.Duration
	used, entitled time.Duration // at the last look
	at             time.Time     // of the last look
}

// watch looks at the process until it ends, and kills it if it exceeds a limit.
func (p *process) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	budget := cpuBudget{left: cpuReserve}
	for {
		select {
		case <-p.exited:
			return
		case <-tick.C:
			u, ok := p.usage()
			if !ok {
				continue // the process is about to end
			}
			now := monotonicNow()
			if reason := p.exceeded(u, budget.spend(u.cpu, p.open.time(now), now)); reason != "" {
				p.kill(reason)
				return
			}
		}
	}
}

// exceeded returns which limit the process exceeds, or "".
func (p *process) exceeded(u usage, cpuLeft time.Duration) string {
	limits := p.spec.Limits
	switch {
	case u.memory > int64(limits.MemoryMiB)<<20:
		return fmt.Sprintf("it used more than its %d MiB of memory", limits.MemoryMiB)
	case u.threads > limits.Threads:
		return fmt.Sprintf("it ran more than its %d threads", limits.Threads)
	case u.files > maxSocketFiles:
		return fmt.Sprintf("it put more than %d files into its socket folder", maxSocketFiles)
	case cpuLeft < 0:
		return "it used more of the CPU than renders were open"
	}
	return ""
}

// spend takes off what the process used since the last look beyond what it was
// entitled to, and returns what is left.
func (b *cpuBudget) spend(used, entitled time.Duration, now time.Time) time.Duration {
	b.left -= (used - b.used) - (entitled - b.entitled)
	if !b.at.IsZero() {
		b.left += now.Sub(b.at) / cpuRefillShare
	}
	b.left = min(cpuReserve, b.left)
	b.used, b.entitled, b.at = used, entitled, now
	return b.left
}

// usage reads what the process uses. It holds the lock meanwhile, so that the
// process id is not reused.
func (p *process) usage() (u usage, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return usage{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return usage{}, false
	}
	// The second field is a name that may contain any character (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return usage{}, false
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64) // the kernel writes numbers
		return n
	}
	return usage{
		cpu: time.Duration(number(14)+number(15)) * tickTime, threads: int(number(20)),
		memory: number(24) * int64(os.Getpagesize()), files: countFiles(p.spec.Folder),
	}, true
}

// countFiles counts the files in a folder, up to one more than is allowed.
func countFiles(path string) int {
	folder, err := os.Open(path) //nolint:gosec // the folder that was made for this run
	if err != nil {
		return 0
	}
	defer func() { _ = folder.Close() }() // the folder was only read
	names, _ := folder.Readdirnames(maxSocketFiles + 1)
	return len(names)
}

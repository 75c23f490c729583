package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// How a plugin is watched, for what the kernel does not count without
// privileges. Between two looks a plugin can go beyond its limit; the kernel
// refuses what goes far beyond (package sandbox).
const (
	watchEvery = 100 * time.Millisecond
	// ownTime is the CPU time that a plugin may use beyond one CPU for each
	// render, for what callers asked and no longer wait for. It comes back at a
	// tenth of a CPU, and as what renders leave of theirs.
	ownTime      = 5 * time.Second
	ownTimeShare = 10
	// maxOwnFiles is how many files may lie in its socket folder.
	maxOwnFiles = 16
	// tickTime is the unit of /proc/PID/stat (proc(5)), the same everywhere.
	tickTime = time.Second / 100
)

// use is what a process was seen to use.
type use struct {
	cpu     time.Duration // since it started
	threads int
	memory  int64 // bytes
	files   int   // in its folder
}

// allowance is the CPU time of its own that a plugin has left.
type allowance struct {
	left        time.Duration
	used, asked time.Duration // at the last look
	at          time.Time     // of that
}

// watch looks at the process until it ends, and ends it when it goes beyond a
// limit.
func (p *process) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	own := allowance{left: ownTime}
	for {
		select {
		case <-p.exited:
			return
		case <-tick.C:
			seen, ok := p.use()
			if !ok {
				continue // it is about to end
			}
			now := moment()
			if reason := p.judge(seen, own.spend(seen.cpu, p.work.asked(now), now)); reason != "" {
				p.condemn(reason)
				return
			}
		}
	}
}

// judge says which limit was exceeded, if any.
func (p *process) judge(seen use, ownLeft time.Duration) string {
	limits := p.box.Limits
	switch {
	case seen.memory > int64(limits.MemoryMiB)<<20:
		return fmt.Sprintf("it used more than its %d MiB of memory", limits.MemoryMiB)
	case seen.threads > limits.Threads:
		return fmt.Sprintf("it ran more than its %d threads", limits.Threads)
	case seen.files > maxOwnFiles:
		return fmt.Sprintf("it put more than %d files into its socket folder", maxOwnFiles)
	case ownLeft < 0:
		return "it used more of the CPU than renders were open"
	}
	return ""
}

// spend takes what the process used since the last look beyond what it was asked
// for, and returns what is left.
func (a *allowance) spend(used, asked time.Duration, now time.Time) time.Duration {
	a.left -= (used - a.used) - (asked - a.asked)
	if !a.at.IsZero() {
		a.left += now.Sub(a.at) / ownTimeShare
	}
	a.left = min(ownTime, a.left)
	a.used, a.asked, a.at = used, asked, now
	return a.left
}

// use reads what the process uses. It holds the process's id meanwhile, which
// could come to mean another.
func (p *process) use() (u use, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped {
		return use{}, false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return use{}, false
	}
	// The second field is a name that may hold anything (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return use{}, false
	}
	number := func(field int) int64 {
		n, _ := strconv.ParseInt(string(fields[field-3]), 10, 64) // the kernel wrote it
		return n
	}
	return use{
		cpu: time.Duration(number(14)+number(15)) * tickTime, threads: int(number(20)),
		memory: number(24) * int64(os.Getpagesize()), files: entries(p.box.Folder),
	}, true
}

// entries counts a folder's entries, as far as it matters.
func entries(path string) int {
	folder, err := os.Open(path) //nolint:gosec // the folder that was made for this run
	if err != nil {
		return 0
	}
	defer func() { _ = folder.Close() }() // only read from
	names, _ := folder.Readdirnames(maxOwnFiles + 1)
	return len(names)
}

// Package sandbox confines a plugin before any of its own code runs, on Linux.
// Start with [Prepare]; confine in sandbox_linux.go lists the steps.
//
// A process cannot be confined from outside, and a Go program cannot run code
// between fork and exec. The host therefore starts its own program again under the
// name [Launcher]. The init function of this package finds that name and never
// returns: it confines its own process, which then becomes the plugin. That init
// must run early in a large program, so this package imports little. Every program
// that imports the package can launch plugins, without a call in main.
//
// The package promises:
//   - everything that Report.Enforced names is enforced at the plugin's first
//     instruction;
//   - with Spec.Require, the plugin does not run unless everything is enforced;
//   - nothing of the host reaches the plugin but the given environment, the
//     descriptors 0 to 2 and its own binary.
package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Launcher is the argument 0 with which a program becomes the launcher.
const Launcher = "countersign-launcher"

// The modes say whether a plugin may run that this system cannot fully confine.
const (
	ModeBestEffort = "best_effort" // it may: its state and the log say what is missing
	ModeRequire    = "require"     // it may not
)

// What a sandbox enforces. A Report uses these names.
const (
	Privileges = "no privileges"
	Network    = "no network"
	Files      = "no files"
	Processes  = "no processes"
	Memory     = "memory limit"
	OpenFiles  = "open files limit"
	Threads    = "thread limit"
	CPU        = "CPU limit"
)

// Limits bound one plugin. In a catalogue entry, zero means the default.
type Limits struct {
	// MemoryMiB is the memory that it may use, in MiB.
	MemoryMiB int `json:"memory_mib,omitempty"`
	// Threads is how many threads it may run. It may start no processes.
	Threads int `json:"threads,omitempty"`
	// Files is how many descriptors it may hold, including sockets and pipes.
	Files int `json:"files,omitempty"`
}

// DefaultLimits are also the most that a catalogue entry may ask for.
var DefaultLimits = Limits{MemoryMiB: 512, Threads: 256, Files: 64}

// Within returns the limits with most in place of zeros. It fails if a limit is
// higher than most.
func (l Limits) Within(most Limits) (Limits, error) {
	for _, limit := range []struct {
		name      string
		got, most int
	}{{"memory_mib", l.MemoryMiB, most.MemoryMiB}, {"threads", l.Threads, most.Threads}, {"files", l.Files, most.Files}} {
		if limit.got < 0 || limit.got > limit.most {
			return l, fmt.Errorf("its limit %s in the catalogue is %d; it must be from 1 to %d", limit.name, limit.got, limit.most)
		}
	}
	return Limits{
		MemoryMiB: cmp.Or(l.MemoryMiB, most.MemoryMiB), Threads: cmp.Or(l.Threads, most.Threads), Files: cmp.Or(l.Files, most.Files),
	}, nil
}

// Spec says how a plugin is to be confined.
type Spec struct {
	// Name is the plugin's argument 0.
	Name string `json:"name"`
	// Folder is the only folder that it can write to. It makes its socket there.
	Folder string `json:"folder"`
	// Libraries lets it read the system's shared libraries. A dynamically linked
	// binary does not start without them.
	Libraries bool `json:"libraries"`
	// Require refuses to run it if something cannot be enforced.
	Require bool   `json:"require"`
	Limits  Limits `json:"limits"`
	// HostNetwork starts it in the network of the host. This is for systems on which
	// the launch fails with ErrNoOwnNetwork otherwise.
	HostNetwork bool `json:"-"`
	// Host is the process that it must not outlive, and Network the network of that
	// process. Prepare sets both.
	Host    int    `json:"host"`
	Network string `json:"network"`
}

// The failures of a launch to which callers react.
var (
	// ErrNoOwnNetwork means that the system did not start it in a network of its own.
	ErrNoOwnNetwork = errors.New("the system does not start it in a network of its own")
	// ErrUnconfined means that it did not start because of Spec.Require.
	ErrUnconfined = errors.New("it cannot be confined as required")
)

// Report is the result of a launch.
type Report struct {
	// Enforced names what is enforced for the process.
	Enforced []string `json:"enforced"`
	// Missing names what is not, each with the reason after a colon.
	Missing []string `json:"missing"`
	// Error says why the plugin does not run at all.
	Error string `json:"error,omitempty"`
	// ExecDenied says that the system did not permit the launcher to become the plugin.
	ExecDenied bool `json:"exec_denied,omitempty"`
}

// add puts one measure into the report: as missing if there is a problem.
func (r *Report) add(measure string, problem error) {
	if problem == nil {
		r.Enforced = append(r.Enforced, measure)
		return
	}
	r.Missing = append(r.Missing, measure+": "+strings.ReplaceAll(problem.Error(), "\n", ", "))
}

// check returns an error if a plugin with this report must not run.
func (r *Report) check(s Spec) error {
	if s.Require && len(r.Missing) > 0 {
		return fmt.Errorf("%w: %s", ErrUnconfined, strings.Join(r.Missing, "; "))
	}
	return nil
}

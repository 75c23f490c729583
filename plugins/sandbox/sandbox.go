// Package sandbox confines a program before any of its own code runs, on Linux.
// Start with [Prepare]; sandbox_linux.go lists what is done to the plugin.
//
// Confinement cannot be put on a process from outside, and a Go program cannot
// run code between fork and exec. So the host starts itself again under the
// name [Launcher], and the init function of this package, finding that name,
// never returns: it confines its own process and then becomes the plugin. That
// init runs before those of most packages of a large program, which is why this
// package imports little; and whatever imports it can launch, with no call in
// main to forget.
//
// The package promises:
//   - the plugin's first instruction runs with everything in force that
//     Report.Enforced names;
//   - with Spec.Require it never runs unless everything is;
//   - nothing of the host reaches the plugin but its environment as given,
//     descriptors 0 to 2 and its own binary.
package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Launcher is the argument 0 under which a program becomes the launcher.
const Launcher = "countersign-launcher"

// What a sandbox enforces. A Report names each as it stands here.
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

// Limits bound one plugin. In Limits of a catalogue entry, zero is the default.
type Limits struct {
	// MemoryMiB is how much memory it may use, in MiB.
	MemoryMiB int `json:"memory_mib,omitempty"`
	// Threads is how many threads it may run. Processes it may start none.
	Threads int `json:"threads,omitempty"`
	// Files is how many descriptors it may hold, sockets and pipes included.
	Files int `json:"files,omitempty"`
}

// DefaultLimits are also the most that a catalogue entry may ask for.
var DefaultLimits = Limits{MemoryMiB: 512, Threads: 256, Files: 64}

// Within is the limits with defaults for what they leave open. It fails when
// one goes beyond its default.
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

// Spec is what is to run, and how.
type Spec struct {
	// Name is the plugin's argument 0.
	Name string `json:"name"`
	// Folder is where it may make its socket: the one folder it can write to.
	Folder string `json:"folder"`
	// Libraries lets it read the system's shared libraries, without which a
	// binary that is linked against them does not start.
	Libraries bool `json:"libraries"`
	// Require refuses to run it where something cannot be enforced.
	Require bool   `json:"require"`
	Limits  Limits `json:"limits"`
	// Together starts it in the host's network, where ErrApart says that it takes
	// that to start it at all.
	Together bool `json:"-"`
	// Host is the process that it must not outlive, and Network the one that it
	// must not be in: Prepare says which.
	Host    int    `json:"host"`
	Network string `json:"network"`
}

// The ways in which a launch fails that the caller may want to know.
var (
	// ErrApart says that the system did not start it in a network of its own.
	ErrApart = errors.New("the system does not start it in a network of its own")
	// ErrUnconfined says that it did not start because of Spec.Require.
	ErrUnconfined = errors.New("it cannot be confined as required")
)

// Report is what became of a Spec.
type Report struct {
	// Enforced names what holds for the process.
	Enforced []string `json:"enforced"`
	// Missing names what does not, each with the reason after a colon.
	Missing []string `json:"missing"`
	// Error says why it does not run at all.
	Error string `json:"error,omitempty"`
	// Barred tells that the system let the launcher not run it.
	Barred bool `json:"barred,omitempty"`
}

// Note adds one thing to the report: as enforced, unless a problem says why not.
func (r *Report) Note(thing string, problem error) {
	if problem == nil {
		r.Enforced = append(r.Enforced, thing)
		return
	}
	r.Missing = append(r.Missing, thing+": "+strings.ReplaceAll(problem.Error(), "\n", ", "))
}

// refusal says why a plugin with this report must not run, if so required.
func (r *Report) refusal(s Spec) error {
	if s.Require && len(r.Missing) > 0 {
		return fmt.Errorf("%w: %s", ErrUnconfined, strings.Join(r.Missing, "; "))
	}
	return nil
}

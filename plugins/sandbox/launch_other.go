//go:build !linux

package sandbox

import (
	"errors"
	"os"
	"os/exec"
)

// Launch is a start of a plugin under way, here without a launcher.
type Launch struct {
	// Cmd starts the image, with an empty environment.
	Cmd    *exec.Cmd
	report Report
}

// Prepare makes a launch of the image, which must lie in a folder. It fails
// when the spec requires what this system does not have.
func Prepare(s Spec, image *os.File) (*Launch, error) {
	var r Report
	for _, thing := range []string{Privileges, Network, Files, Processes, Memory, OpenFiles, Threads, CPU} {
		r.Note(thing, errors.New("plugins are confined on Linux only"))
	}
	if err := r.refusal(s); err != nil {
		return nil, err
	}
	return &Launch{report: r, Cmd: &exec.Cmd{Path: image.Name(), Args: []string{s.Name}, Env: []string{}}}, nil
}

// Start starts the plugin.
func (l *Launch) Start() error { return l.Cmd.Start() }

// Cancel frees what a launch holds that did not start.
func (l *Launch) Cancel() {}

// Report says what is missing.
func (l *Launch) Report() (Report, error) { return l.report, nil }

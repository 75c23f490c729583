//go:build !linux

package sandbox

import (
	"errors"
	"os"
	"os/exec"
)

// Launch starts one plugin, on this system without a launcher.
type Launch struct {
	// Cmd starts the image, with an empty environment.
	Cmd    *exec.Cmd
	report Report
}

// Prepare makes a launch of the image, which must have a path. It fails if the spec
// requires full confinement, which this system does not have.
func Prepare(s Spec, image *os.File) (*Launch, error) {
	var r Report
	for _, measure := range []string{Privileges, Network, Files, Processes, Memory, OpenFiles, Threads, CPU} {
		r.add(measure, errors.New("plugins are confined on Linux only"))
	}
	if err := r.check(s); err != nil {
		return nil, err
	}
	return &Launch{report: r, Cmd: &exec.Cmd{Path: image.Name(), Args: []string{s.Name}, Env: []string{}}}, nil
}

// Start starts the plugin.
func (l *Launch) Start() error { return l.Cmd.Start() }

// Cancel does nothing: a launch holds no resources here.
func (l *Launch) Cancel() {}

// Report says that everything is missing.
func (l *Launch) Report() (Report, error) { return l.report, nil }

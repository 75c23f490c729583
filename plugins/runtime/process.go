package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"

	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
)

// outputGrace is how long the host still reads output after the plugin's end.
const outputGrace = 100 * time.Millisecond

// process is one run of a plugin's image, in the form that go-plugin expects. It is
// confined before its own code runs (package sandbox). It has no environment but
// the handshake's, no standard input, "/" as its working directory and a process
// group of its own.
type process struct {
	spec           sandbox.Spec
	launch         *sandbox.Launch
	cmd            *exec.Cmd      // that of the launch
	report         sandbox.Report // set once Start has returned
	stdout, stderr *os.File       // the host's ends of the pipes

	started   chan struct{} // closed once the process was started, or could not be
	exited    chan struct{} // closed once the process and its group are gone
	stopTimer *time.Timer   // closes the pipes; set before exited is closed

	open openRenders

	mu         sync.Mutex
	reaped     bool   // its process id may belong to another process
	killed     bool   // by the host, while it ran
	killReason string // why the host killed it
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares a run of the image with go-plugin's environment.
func newProcess(i *image, spec sandbox.Spec, env []string) (*process, error) {
	launch, err := sandbox.Prepare(spec, i.file)
	if err != nil {
		return nil, hostError{fmt.Errorf("prepare plugin: %w", err)}
	}
	launch.Cmd.Env = append(env, sdk.HostPIDVariable+"="+strconv.Itoa(os.Getpid()))
	launch.Cmd.Dir = "/"
	endWithHost(launch.Cmd)
	return &process{spec: spec, launch: launch, cmd: launch.Cmd, started: make(chan struct{}), exited: make(chan struct{})}, nil
}

// Start implements runner.Runner. It returns when the plugin is confined and about
// to run.
func (p *process) Start(context.Context) error {
	outWriter, errWriter, err := p.pipes()
	if err != nil {
		close(p.started)
		close(p.exited)
		p.launch.Cancel()
		return err
	}
	startErr := make(chan error)
	go p.run(startErr)
	if err = <-startErr; err != nil {
		p.launch.Cancel()
	} else if p.report, err = p.launch.Report(); err != nil {
		p.end()
		err = hostError{err}
	}
	if err != nil {
		p.closePipes()
	} else {
		go p.watch()
	}
	return errors.Join(err, outWriter.Close(), errWriter.Close())
}

// pipes connects the plugin's output. The pipes are plain files, so that package
// exec starts no goroutine that copies.
func (p *process) pipes() (outWriter, errWriter *os.File, err error) {
	if p.stdout, outWriter, err = os.Pipe(); err != nil {
		return nil, nil, fmt.Errorf("connect plugin: %w", err)
	}
	if p.stderr, errWriter, err = os.Pipe(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect plugin: %w", err), p.stdout.Close(), outWriter.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr = outWriter, errWriter
	return outWriter, errWriter, nil
}

func (p *process) closePipes() {
	_ = p.stdout.Close() // it was only read
	_ = p.stderr.Close()
}

// run starts the process and waits for its end. It keeps its thread for as long,
// because on Linux the process dies with the thread that started it.
func (p *process) run(startErr chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	err := p.launch.Start()
	close(p.started)
	startErr <- err
	if err != nil {
		return
	}
	p.reap()
	// The last output is still read. The timer ends that, because a descendant that
	// left the process group could hold the pipes open for ever.
	p.stopTimer = time.AfterFunc(outputGrace, p.closePipes)
}

// signalGroup kills the process and whatever it started, unless it is reaped. The
// caller holds the lock.
func (p *process) signalGroup() {
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// end kills the process for no fault of its own. A plugin holds nothing that it
// would have to save.
func (p *process) end() { p.kill("") }

// kill kills the process and waits until it is gone. The plugin's state will show
// the reason.
func (p *process) kill(reason string) {
	<-p.started
	if p.cmd.Process != nil {
		p.mu.Lock()
		if !p.killed && !p.reaped {
			p.killed, p.killReason = true, reason
		}
		p.signalGroup()
		p.mu.Unlock()
	}
	<-p.exited
}

// exitReason waits for the end of the process and returns its reason: why the host
// killed it, or else how it exited. It is "" if the host ended it for no fault, or
// if the plugin's own code never ran.
func (p *process) exitReason() string {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	exit := p.cmd.ProcessState
	if exit == nil || p.report.Error != "" {
		return ""
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); p.killed && ok && status.Signal() == syscall.SIGKILL {
		return p.killReason
	}
	return exit.String()
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	p.end()
	return nil
}

// Wait implements runner.AttachedRunner. go-plugin calls it once it has read all
// output.
func (p *process) Wait(context.Context) error {
	<-p.exited
	p.stopTimer.Stop()
	p.closePipes()
	return nil
}

// PluginToHost implements runner.AddrTranslator. It accepts only a socket in the
// folder that was made for this run, because the host sends keys over this
// connection.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.spec.Folder {
		return "", "", hostError{errors.New("the plugin names an address outside its socket folder")}
	}
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name implements runner.Runner.
func (p *process) Name() string { return p.spec.Name }

// ID implements runner.AttachedRunner.
func (p *process) ID() string { return p.spec.Name }

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

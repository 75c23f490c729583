package host

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

// lastWords is how long output is read on after a plugin's end.
const lastWords = 100 * time.Millisecond

// process is one run of a plugin's image, as go-plugin wants to see it. It is
// confined before its own code runs (package sandbox), and has an empty
// environment but for the handshake, no standard input, "/" as its working
// directory and a process group of its own.
type process struct {
	box      sandbox.Spec
	launch   *sandbox.Launch
	cmd      *exec.Cmd      // the launch's
	report   sandbox.Report // set once Start has returned
	out, err *os.File       // what the plugin wrote, for the host to read

	begun  chan struct{} // closed once it was started, or could not be
	exited chan struct{} // closed once the process and its group are gone
	hush   *time.Timer   // set before exited is closed

	work work // asked of it

	mu      sync.Mutex
	reaped  bool   // its id may mean another process
	ended   bool   // by the host, while it ran
	verdict string // why the host ended it
}

var _ runner.Runner = (*process)(nil)

// newProcess prepares a run of the image with the environment of spec, which is
// go-plugin's.
func newProcess(i *image, box sandbox.Spec, spec *exec.Cmd) (*process, error) {
	launch, err := sandbox.Prepare(box, i.file)
	if err != nil {
		return nil, ownWords{fmt.Errorf("prepare plugin: %w", err)}
	}
	launch.Cmd.Env = append(spec.Env, sdk.HostPIDVariable+"="+strconv.Itoa(os.Getpid()))
	launch.Cmd.Dir = "/"
	tie(launch.Cmd)
	return &process{box: box, launch: launch, cmd: launch.Cmd, begun: make(chan struct{}), exited: make(chan struct{})}, nil
}

// Start implements runner.Runner. It returns when the plugin is about to run,
// confined.
func (p *process) Start(context.Context) error {
	outWriter, errWriter, err := p.pipes()
	if err != nil {
		close(p.begun)
		close(p.exited)
		p.launch.Cancel()
		return err
	}
	started := make(chan error)
	go p.live(started)
	if err = <-started; err != nil {
		p.launch.Cancel()
	} else if p.report, err = p.launch.Report(); err != nil {
		p.end()
		err = ownWords{err}
	}
	if err != nil {
		p.closePipes()
	} else {
		go p.watch()
	}
	return errors.Join(err, outWriter.Close(), errWriter.Close())
}

// pipes connects the plugin's output. They are plain files, so that no
// goroutine of package exec stands between.
func (p *process) pipes() (outWriter, errWriter *os.File, err error) {
	if p.out, outWriter, err = os.Pipe(); err != nil {
		return nil, nil, fmt.Errorf("connect plugin: %w", err)
	}
	if p.err, errWriter, err = os.Pipe(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect plugin: %w", err), p.out.Close(), outWriter.Close())
	}
	p.cmd.Stdout, p.cmd.Stderr = outWriter, errWriter
	return outWriter, errWriter, nil
}

func (p *process) closePipes() {
	_ = p.out.Close() // only read from
	_ = p.err.Close()
}

// live starts the process and stays with it. It keeps its thread for as long,
// because on Linux the process dies with the thread that started it.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	err := p.launch.Start()
	close(p.begun)
	if err != nil {
		started <- err
		return
	}
	started <- nil
	p.reap()
	// What it wrote last may still be read. A descendant that left the group
	// could hold the other ends open for ever.
	p.hush = time.AfterFunc(lastWords, p.closePipes)
}

// signal kills the process and whatever it started, unless it is gone already,
// which is what was wanted. The caller holds the lock.
func (p *process) signal() {
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// end kills the process at once and waits until it is gone. A plugin holds
// nothing that would need a farewell.
func (p *process) end() { p.condemn("") }

// condemn ends the process for a reason that the plugin's state is to say.
func (p *process) condemn(reason string) {
	<-p.begun
	if p.cmd.Process != nil {
		p.mu.Lock()
		if !p.ended && !p.reaped {
			p.ended, p.verdict = true, reason
		}
		p.signal()
		p.mu.Unlock()
	}
	<-p.exited
}

// fate is how the process came to its end: by the host's verdict, or in some
// way of its own. It is "" when the host ended it for no fault, or when it never
// was the plugin.
func (p *process) fate() string {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	end := p.cmd.ProcessState
	if end == nil || p.report.Error != "" {
		return ""
	}
	if status, ok := end.Sys().(syscall.WaitStatus); p.ended && ok && status.Signal() == syscall.SIGKILL {
		return p.verdict
	}
	return end.String()
}

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	p.end()
	return nil
}

// Wait implements runner.AttachedRunner. go-plugin calls it when it has read all
// output.
func (p *process) Wait(context.Context) error {
	<-p.exited
	p.hush.Stop()
	p.closePipes()
	return nil
}

// PluginToHost implements runner.AddrTranslator. It accepts no address but a
// socket in the folder that was made for this run: the host hands out keys over
// this connection and dials nowhere else.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || filepath.Dir(address) != p.box.Folder {
		return "", "", ownWords{errors.New("the plugin names an address outside its socket folder")}
	}
	return network, address, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.out }

// Stderr implements runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.err }

// Name implements runner.Runner.
func (p *process) Name() string { return p.box.Name }

// ID implements runner.AttachedRunner.
func (p *process) ID() string { return p.box.Name }

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

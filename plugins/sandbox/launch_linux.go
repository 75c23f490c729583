package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The descriptors that a launcher receives beside the standard ones.
const (
	imageFD  = 3
	reportFD = 4
)

// maxReport is the longest report that the host reads, in bytes.
const maxReport = 16 << 10

// Launch starts one plugin. Call Start, then Report. If Start fails or Report is
// not called, call Cancel.
type Launch struct {
	// Cmd is the launcher, with an empty environment. Callers may add to its
	// SysProcAttr, but not replace it.
	Cmd         *exec.Cmd
	spec        Spec
	read, write *os.File // the pipe of the launcher's report
}

// Prepare makes a launch of the image. The caller still has to close the image.
func Prepare(s Spec, image *os.File) (*Launch, error) {
	s.Host, s.Network = os.Getpid(), network()
	spec, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode sandbox: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("connect launcher: %w", err)
	}
	l := &Launch{spec: s, read: read, write: write, Cmd: &exec.Cmd{
		Path:        "/proc/self/exe", // this program, even if the file that it was started from is replaced
		Args:        []string{Launcher, string(spec)},
		Env:         []string{},
		ExtraFiles:  []*os.File{image, write},
		SysProcAttr: &syscall.SysProcAttr{},
	}}
	if !s.HostNetwork {
		setOwnNetwork(l.Cmd.SysProcAttr)
	}
	return l, nil
}

// Start starts the launcher. After ErrNoOwnNetwork, it may start with
// Spec.HostNetwork.
func (l *Launch) Start() error { return l.blameNetwork(l.Cmd.Start()) }

// blameNetwork marks a failure that the network of its own may have caused.
func (l *Launch) blameNetwork(err error) error {
	if err != nil && !l.spec.HostNetwork {
		return fmt.Errorf("%w: %w", ErrNoOwnNetwork, err)
	}
	return err
}

// Cancel frees the resources of a launch.
func (l *Launch) Cancel() {
	_ = l.write.Close() // nothing was written
	_ = l.read.Close()
}

// Report returns when the plugin is about to run, or the launcher has failed. It
// also returns when the process is killed. After ErrNoOwnNetwork, the plugin may
// start with Spec.HostNetwork.
func (l *Launch) Report() (Report, error) {
	defer l.Cancel()
	_ = l.write.Close() // the launcher has its own copy
	var r Report
	received := false
	for decoder := json.NewDecoder(io.LimitReader(l.read, maxReport)); ; received = true {
		var next Report
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r, fmt.Errorf("confine plugin: read the launcher's report: %w", err)
		}
		r = next
	}
	switch {
	case !received:
		return r, errors.New("confine plugin: the launcher ended without a report")
	case r.Error == "":
		return r, nil
	}
	if err := r.check(l.spec); err != nil {
		return r, fmt.Errorf("confine plugin: %w", err)
	}
	err := errors.New("confine plugin: " + r.Error)
	if r.ExecDenied { // some systems let every user make a user namespace, but run nothing in it
		err = l.blameNetwork(err)
	}
	return r, err
}

// The Go runtime runs init on the main thread. That matters: confinement applies to
// a thread, and the thread that calls exec is the one that remains.
func init() {
	if len(os.Args) == 2 && os.Args[0] == Launcher {
		launch()
	}
}

// launch confines this process and turns it into the plugin.
func launch() {
	var s Spec
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		fail(Report{}, fmt.Errorf("decode sandbox: %w", err))
	}
	if err := endWithHost(s); err != nil {
		fail(Report{}, err)
	}
	argv, err := syscall.SlicePtrFromStrings([]string{s.Name})
	if err != nil {
		fail(Report{}, err)
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		fail(Report{}, err)
	}
	r := confine(s)
	if err := r.check(s); err != nil {
		fail(r, err)
	}
	send(r)
	// Nothing may allocate memory from here on, because the limit also applies to
	// this process.
	limitMemory(s.Limits)
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, imageFD, uintptr(unsafe.Pointer(&noPath)), //nolint:gosec // the system call takes addresses
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0) //nolint:gosec // as above
	r.ExecDenied = errno == unix.EACCES || errno == unix.EPERM
	fail(r, fmt.Errorf("run it: %w", errno))
}

// endWithHost makes the kernel kill this process, and so the plugin, when the thread
// of the host that started it ends. The host requested that at the start, but exec of
// a program that receives capabilities resets it.
func endWithHost(s Spec) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return failed("prctl failed", err)
	}
	if os.Getppid() != s.Host {
		return errors.New("the host has ended")
	}
	return nil
}

// noPath is the empty string as the kernel reads it.
var noPath byte

func fail(r Report, err error) {
	r.Error = err.Error()
	send(r)
	os.Exit(1)
}

// send sends the report to the host. If the host is gone, this process is killed.
func send(r Report) {
	if text, err := json.Marshal(r); err == nil {
		_, _ = unix.Write(reportFD, text)
	}
}

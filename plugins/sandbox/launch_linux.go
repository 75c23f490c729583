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

// The descriptors that a launcher gets beside the standard ones.
const (
	imageFD  = 3
	reportFD = 4
)

// maxReport is more than a launcher has to say, in bytes.
const maxReport = 16 << 10

// Launch is a start of a plugin under way. After Start call Report; when that
// failed or was not called, Cancel.
type Launch struct {
	// Cmd is the launcher, with an empty environment, for Start to start. What
	// its SysProcAttr holds must stay.
	Cmd         *exec.Cmd
	spec        Spec
	read, write *os.File // of the pipe over which the launcher reports
}

// Prepare makes a launch of the image, which stays the caller's.
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
		Path:        "/proc/self/exe", // this very program, whatever lies by now where it was started from
		Args:        []string{Launcher, string(spec)},
		Env:         []string{},
		ExtraFiles:  []*os.File{image, write},
		SysProcAttr: &syscall.SysProcAttr{},
	}}
	if !s.Together {
		setApart(l.Cmd.SysProcAttr)
	}
	return l, nil
}

// Start starts the launcher. ErrApart says that it may start together.
func (l *Launch) Start() error { return l.apart(l.Cmd.Start()) }

// apart says of a failure that the network of its own may be the cause.
func (l *Launch) apart(err error) error {
	if err != nil && !l.spec.Together {
		return fmt.Errorf("%w: %w", ErrApart, err)
	}
	return err
}

// Cancel frees what a launch holds that did not start.
func (l *Launch) Cancel() {
	_ = l.write.Close() // nothing was written
	_ = l.read.Close()
}

// Report returns when the plugin is about to run, or the launcher has failed.
// Ending the process ends the wait. ErrApart says that it may start together.
func (l *Launch) Report() (Report, error) {
	defer l.Cancel()
	_ = l.write.Close() // the launcher has its own
	var r Report
	said := false
	for decoder := json.NewDecoder(io.LimitReader(l.read, maxReport)); ; said = true {
		var next Report
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return r, fmt.Errorf("confine plugin: read the launcher's report: %w", err)
		}
		r = next
	}
	switch {
	case !said:
		return r, errors.New("confine plugin: the launcher ended without a report")
	case r.Error == "":
		return r, nil
	}
	if refusal := r.refusal(l.spec); refusal != nil {
		return r, fmt.Errorf("confine plugin: %w", refusal)
	}
	err := errors.New("confine plugin: " + r.Error)
	if r.Barred { // some systems let anybody make a user namespace, and run nothing in it
		err = l.apart(err)
	}
	return r, err
}

// The runtime keeps init on the main thread. That matters: confinement goes by
// thread, and the thread that calls exec is the one that lives on.
func init() {
	if len(os.Args) == 2 && os.Args[0] == Launcher {
		launch()
	}
}

// launch confines this process and makes it the plugin.
func launch() {
	var s Spec
	if err := json.Unmarshal([]byte(os.Args[1]), &s); err != nil {
		fail(Report{}, fmt.Errorf("decode sandbox: %w", err))
	}
	if err := stayTied(s); err != nil {
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
	if err := r.refusal(s); err != nil {
		fail(r, err)
	}
	tell(r)
	// From here on nothing may need memory: the limit is this process's, too.
	limitMemory(s.Limits)
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, imageFD, uintptr(unsafe.Pointer(&noPath)), //nolint:gosec // how the call takes it
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0) //nolint:gosec // likewise
	r.Barred = errno == unix.EACCES || errno == unix.EPERM
	fail(r, fmt.Errorf("run it: %w", errno))
}

// stayTied has the kernel end this process, and so the plugin, with the thread
// of the host that started it. The host asked for that at the start, but exec of
// a program that is given capabilities forgets it.
func stayTied(s Spec) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return because("prctl failed", err)
	}
	if os.Getppid() != s.Host {
		return errors.New("the host is gone")
	}
	return nil
}

// noPath is the empty string as the kernel reads it.
var noPath byte

func fail(r Report, err error) {
	r.Error = err.Error()
	tell(r)
	os.Exit(1)
}

// tell reports to the host. When the host is gone, so is this process.
func tell(r Report) {
	if text, err := json.Marshal(r); err == nil {
		_, _ = unix.Write(reportFD, text)
	}
}

package runtime

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newImage makes an anonymous file in memory. It has no path to attack and leaves
// nothing behind.
func newImage(string) (*image, error) {
	fd, err := unix.MemfdCreate("countersign-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3, every such file is executable
		fd, err = unix.MemfdCreate("countersign-plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return &image{file: os.NewFile(uintptr(fd), "countersign-plugin")}, nil
}

// seal forbids every later change of the image, also by this process. The kernel
// answers EBUSY while it still uses a page that was just written, which on a busy
// machine may happen several times (fcntl(2), F_ADD_SEALS).
func (i *image) seal() error {
	const seals, tries = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL, 50
	for try := 1; ; try++ {
		_, err := unix.FcntlInt(i.file.Fd(), unix.F_ADD_SEALS, seals)
		if !errors.Is(err, unix.EBUSY) || try == tries {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (i *image) close() error { return i.file.Close() }

// endWithHost makes the kernel end the plugin when the thread that starts it ends,
// and keeps signals of the terminal away from the plugin.
func endWithHost(cmd *exec.Cmd) {
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
}

// reap waits for the end of the process and kills what it left behind, before its
// process id can be reused.
func (p *process) reap() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.signalGroup()
	_ = p.cmd.Wait() // the exit status is in p.cmd.ProcessState
	p.reaped = true
}

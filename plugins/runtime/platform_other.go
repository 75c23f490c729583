//go:build unix && !linux

package runtime

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// newImage makes a file in the host's private folder, which other users cannot
// reach. These systems have no sealed files in memory.
func newImage(temp string) (*image, error) {
	file, err := os.CreateTemp(temp, "image")
	if err != nil {
		return nil, err
	}
	return &image{file: file}, nil
}

// seal closes the file, because a file that is open for writing cannot be started.
func (i *image) seal() error {
	return errors.Join(i.file.Chmod(0o500), i.file.Close())
}

func (i *image) close() error {
	_ = i.file.Close() // seal may have closed it
	return os.Remove(i.file.Name())
}

// endWithHost keeps signals of the terminal away from the plugin. The SDK makes the
// plugin end with its host.
func endWithHost(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the end of the process.
func (p *process) reap() {
	_ = p.cmd.Wait() // the exit status is in p.cmd.ProcessState
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
}

// watch does nothing. The sandbox's report says that these limits are missing.
func (p *process) watch() {}

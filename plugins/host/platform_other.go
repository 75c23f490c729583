//go:build unix && !linux

package host

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// newImage makes a file in the host's private folder, for systems without
// sealed files in memory: users other than the host's own cannot reach it.
func newImage(temp string) (*image, error) {
	file, err := os.CreateTemp(temp, "image")
	if err != nil {
		return nil, err
	}
	return &image{file: file}, nil
}

// seal closes the file, which could not be started while open for writing.
func (i *image) seal() error {
	return errors.Join(i.file.Chmod(0o500), i.file.Close())
}

func (i *image) close() error {
	_ = i.file.Close() // closed already once sealed
	return os.Remove(i.file.Name())
}

// tie keeps signals of the terminal from the plugin, which watches its
// parent by itself.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the end of the process.
func (p *process) reap() {
	_ = p.cmd.Wait() // how it ended is in the command's state
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
}

// watch does nothing: the process's state says that nobody watches it.
func (p *process) watch() {}

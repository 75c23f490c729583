package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// MaxSocketDir is the longest path of the socket folder, in bytes. The path of a
// Unix socket has at most 107 bytes (unix(7)), and go-plugin appends "/plugin-dir"
// and "/plugin", each with a number of up to ten digits.
const MaxSocketDir = 107 - len("/plugin-dir4294967295/plugin4294967295")

// Sockets is the private folder for the sockets of one host's plugins.
type Sockets struct {
	path string
	lock *os.File // nil for a folder that OpenSockets made up
}

// shortTemp is used if the path of the system's temporary folder is too long.
const shortTemp = "/tmp"

// OpenSockets locks the folder, makes it if it does not exist, and removes what a
// killed host left there. If path is empty, it makes a new folder, which Close
// removes.
func OpenSockets(path string) (*Sockets, error) {
	if path == "" {
		const pattern = "countersign-"
		parent := os.TempDir()
		if len(parent)+len("/"+pattern+"4294967295") > MaxSocketDir {
			parent = shortTemp
		}
		made, err := os.MkdirTemp(parent, pattern)
		if err != nil {
			return nil, fmt.Errorf("make socket folder: %w", err)
		}
		return &Sockets{path: made}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find socket folder: %w", err)
	}
	if len(path) > MaxSocketDir {
		return nil, fmt.Errorf("the path of the socket folder %s has %d bytes; choose one of at most %d, or sockets in it could not be opened", path, len(path), MaxSocketDir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	s := &Sockets{path: path}
	if err := s.lockAndEmpty(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// lockAndEmpty locks the folder for the life of this process, checks that no other
// user has access to it, and empties it.
func (s *Sockets) lockAndEmpty() error {
	var err error
	if s.lock, err = os.Open(s.path); err != nil {
		return fmt.Errorf("open socket folder: %w", err)
	}
	info, err := s.lock.Stat()
	if err != nil {
		return fmt.Errorf("open socket folder: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("the socket folder %s must belong to this user and have no permissions for others (mode 0700, not %04o)", s.path, info.Mode().Perm())
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("the socket folder %s is in use by another host; give each its own: %w", s.path, err)
	}
	stale, err := os.ReadDir(s.path)
	if err != nil {
		return fmt.Errorf("list socket folder: %w", err)
	}
	for _, folder := range stale {
		if !strings.HasPrefix(folder.Name(), "plugin-dir") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.path, folder.Name())); err != nil {
			return fmt.Errorf("remove stale sockets: %w", err)
		}
	}
	return nil
}

// Close unlocks the folder, or removes it if OpenSockets made it up.
func (s *Sockets) Close() error {
	if s.lock == nil {
		return os.RemoveAll(s.path)
	}
	return s.lock.Close()
}

package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// MaxSocketDir is how long, in bytes, the path of the socket folder may be. A
// Unix socket's path has at most 107 (unix(7)), and go-plugin appends
// "/plugin-dir" and "/plugin", each with a number of up to ten digits.
const MaxSocketDir = 107 - len("/plugin-dir4294967295/plugin4294967295")

// sockets is the private folder in which plugins open theirs, held by one host.
type sockets struct {
	path string
	lock *os.File // nil for a folder of this host's own making
}

// shortTemp holds the folder where the system's own temporary one has a path that
// is too long for one in it.
const shortTemp = "/tmp"

// openSockets takes the folder, making it if need be, and wipes what a killed
// host left there. Without a path it makes a folder and removes it on close.
func openSockets(path string) (*sockets, error) {
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
		return &sockets{path: made}, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find socket folder: %w", err)
	}
	if len(path) > MaxSocketDir {
		return nil, fmt.Errorf("the socket folder %s has a path of %d bytes; a socket in it could not be opened beyond %d", path, len(path), MaxSocketDir)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	s := &sockets{path: path}
	if err := s.take(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// take locks the folder for this process, for as long as it lives, checks that
// nobody else can reach into it, and empties it.
func (s *sockets) take() error {
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
		return fmt.Errorf("the socket folder %s must belong to this user and be closed to all others (mode 0700, not %04o)", s.path, info.Mode().Perm())
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("the socket folder %s is in use by another host: %w", s.path, err)
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
			return fmt.Errorf("wipe stale sockets: %w", err)
		}
	}
	return nil
}

// close gives the folder back.
func (s *sockets) close() error {
	if s.lock == nil {
		return os.RemoveAll(s.path)
	}
	return s.lock.Close()
}

package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// The permissions that files of an installation must not give to its group or others.
const (
	SecretFile  fs.FileMode = 0o077 // nobody else may read or write it
	TrustedFile fs.FileMode = 0o022 // nobody else may write it
)

// CheckFileMode refuses a file or folder whose mode gives one of the forbidden
// permissions. Only the file itself is looked at, not its owner nor the folders
// above it.
func CheckFileMode(path string, mode, forbidden fs.FileMode) error {
	if mode.Perm()&forbidden == 0 {
		return nil
	}
	can, did, command := "written", "changed it", "go-w"
	if forbidden == SecretFile {
		can, did, command = "read or written", "copied it", "go-rwx"
	}
	return fmt.Errorf("%s can be %s by other users (mode %04o); make sure that nobody has %s, then run chmod %s %[1]s", path, can, mode.Perm(), did, command)
}

// ReadSecretFile reads a file that nobody else may read or write.
func ReadSecretFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := CheckFileMode(path, info.Mode(), SecretFile); err != nil {
		return nil, err
	}
	return os.ReadFile(path) //nolint:gosec // the operator names the file
}

// CheckTrustedFiles refuses files and folders that other users may write. A path
// that does not exist is passed over, and one that is mounted read-only, as a
// Kubernetes ConfigMap is, cannot be written whatever its mode says.
func CheckTrustedFiles(paths ...string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("check who may write %s: %w", path, err)
		}
		const readOnly = 1 // ST_RDONLY of statvfs(3)
		var system syscall.Statfs_t
		if err := syscall.Statfs(path, &system); err == nil && system.Flags&readOnly != 0 {
			continue
		}
		if err := CheckFileMode(path, info.Mode(), TrustedFile); err != nil {
			return err
		}
	}
	return nil
}

// SyncFolder returns when the names in a folder are on disk.
func SyncFolder(path string) error {
	folder, err := os.Open(path) //nolint:gosec // the operator names the folder
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gocloud.dev/secrets/localsecrets"
)

// maxKeyFile is more than a key file's length: 32 bytes in base64 and a newline.
const maxKeyFile = 256

// openKeyFile reads a local key file, as `openssl rand -base64 32` writes it. One
// that is missing is made if create is set; any other is refused, never
// overwritten: what it sealed would be lost.
func openKeyFile(path string, create bool) (keeper, error) {
	if path == "" {
		return keeper{}, errors.New("open key file: no path is given, and no keeper either")
	}
	key, err := readKeyFile(path)
	if create && errors.Is(err, os.ErrNotExist) {
		if err := createKeyFile(path); err != nil && !errors.Is(err, os.ErrExist) {
			return keeper{}, fmt.Errorf("create key file: %w", err)
		}
		key, err = readKeyFile(path) // ours, or that of a process that came first
	}
	if err != nil {
		return keeper{}, fmt.Errorf("open key file: %w", err)
	}
	defer clear(key[:])
	return localKeeper(key)
}

func readKeyFile(path string) ([32]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return [32]byte{}, err
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing can be lost
	info, err := file.Stat()
	if err != nil {
		return [32]byte{}, err
	}
	if !info.Mode().IsRegular() {
		return [32]byte{}, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return [32]byte{}, fmt.Errorf("%s is open to others (mode %04o); make sure that nobody read it, then chmod 0600", path, mode)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return [32]byte{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer clear(text)
	key, err := localsecrets.Base64KeyStd(string(bytes.TrimSpace(text)))
	if err != nil {
		return [32]byte{}, fmt.Errorf("%s is not a key file (32 bytes in base64); restore it from a backup, it is not overwritten", path)
	}
	return key, nil
}

// createKeyFile makes a key file that nobody else can read. It appears under its
// name complete and on disk, or not at all, and never in place of another.
func createKeyFile(path string) (err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	file, err := os.CreateTemp(folder, ".new-key-*") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name())) }()
	if err := writeKey(file); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func writeKey(file *os.File) error {
	key := make([]byte, 32)
	defer clear(key)
	_, _ = rand.Read(key) // crypto/rand.Read never fails: it crashes the program instead
	text := base64.StdEncoding.AppendEncode(nil, key)
	defer clear(text)
	_, err := file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func syncFolder(path string) error {
	folder, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

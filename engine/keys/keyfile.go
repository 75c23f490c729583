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

	"github.com/google/renameio/v2"
	"gocloud.dev/secrets/localsecrets"

	"github.com/countersign-dev/countersign/engine"
)

// maxKeyFile is more than the length of a key file: 32 bytes in base64 and a newline.
const maxKeyFile = 256

// openKeyFile reads a local key file, as `openssl rand -base64 32` writes it. It
// makes a missing file if create is set. It never overwrites a file, because the
// keys sealed under the old one would be lost.
func openKeyFile(path string, create bool) (keeper, error) {
	if path == "" {
		return keeper{}, errors.New("open key file: no path is set; set keeper.url or keeper.file")
	}
	key, err := readKeyFile(path)
	if create && errors.Is(err, os.ErrNotExist) {
		if err := CreateKeyFile(path); err != nil && !errors.Is(err, os.ErrExist) {
			return keeper{}, fmt.Errorf("create key file: %w", err)
		}
		key, err = readKeyFile(path) // this process or another one has made it
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
	if err := engine.CheckFileMode(path, info.Mode(), engine.SecretFile); err != nil {
		return [32]byte{}, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return [32]byte{}, fmt.Errorf("read %s: %w", path, err)
	}
	defer clear(text)
	key, err := localsecrets.Base64KeyStd(string(bytes.TrimSpace(text)))
	if err != nil {
		return [32]byte{}, fmt.Errorf("%s is not a key file (32 bytes in base64); restore it from a backup; this program does not overwrite it", path)
	}
	return key, nil
}

// CreateKeyFile makes a key file that nobody else can read, and no other in its place: it
// returns [os.ErrExist] if there is one. The file gets its name
// when it is complete and on disk. The name is a hard link and not renameio's
// rename, which would replace the key file of another process.
func CreateKeyFile(path string) (err error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(folder)) // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Cleanup()) }()
	key := make([]byte, 32)
	defer clear(key)
	_, _ = rand.Read(key) // crypto/rand.Read never fails: it crashes the program instead
	text := base64.StdEncoding.AppendEncode(nil, key)
	defer clear(text)
	if _, err := file.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil {
		return err
	}
	return engine.SyncFolder(folder)
}

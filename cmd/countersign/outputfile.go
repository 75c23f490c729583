package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/renameio/v2"
)

// output is a file that is being written. It is a temporary file in the same folder
// until it is complete, so that an interrupted transfer leaves no partial file
// under its name. Its mode is 0600 from the first byte.
type output struct {
	path  string // "-" is standard output
	force bool
	out   io.Writer
	temp  *renameio.PendingFile
}

// createOutput refuses an existing file unless force is set, and always refuses
// what is not a regular file.
func createOutput(path string, force bool, out io.Writer) (*output, error) {
	o := &output{path: path, force: force, out: out}
	if path == "-" {
		return o, nil
	}
	if err := o.free(); err != nil {
		return nil, err
	}
	var err error
	if o.temp, err = renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path))); err != nil { // mode 0600
		return nil, fmt.Errorf("create a temporary file in the folder of %s: %w", path, err)
	}
	o.out = o.temp
	return o, nil
}

func (o *output) free() error {
	info, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", o.path, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is there already and is no plain file", o.path)
	case !o.force:
		return fmt.Errorf("%s is there already; --force replaces it", o.path)
	}
	return nil
}

// receipt describes a file that was kept.
type receipt struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// fill copies the file to its end and keeps it. Unless it returns no error, the
// caller must drop the output.
func (o *output) fill(from io.Reader, progress io.Writer) (receipt, error) {
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(o.out, hash, progress), from)
	if err != nil {
		return receipt{}, fmt.Errorf("transfer %s: %w", o.path, err)
	}
	if err := o.keep(); err != nil {
		return receipt{}, fmt.Errorf("keep %s: %w", o.path, err)
	}
	return receipt{o.path, hex.EncodeToString(hash.Sum(nil)), size}, nil
}

// keep gives the file its name. Without force it first creates an empty file under
// that name, which fails if another process has made one meanwhile.
func (o *output) keep() error {
	if o.temp == nil {
		return nil
	}
	if o.force {
		return o.temp.CloseAtomicallyReplace()
	}
	reserved, err := os.OpenFile(o.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(reserved.Close(), o.temp.CloseAtomicallyReplace()); err != nil {
		return errors.Join(err, os.Remove(o.path))
	}
	return nil
}

// drop removes the temporary file, if the file was not kept.
func (o *output) drop() error {
	if o.temp == nil {
		return nil
	}
	if err := o.temp.Cleanup(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished file: %w", err)
	}
	return nil
}

// fileName makes the name of a file from what a server calls it: without folder,
// without what a terminal would obey, and not hidden.
func fileName(name string) (string, error) {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimLeft(clean(name), ". ")
	if name == "" || len(name) > 255 || strings.Contains(name, ":") {
		return "", errors.New("the server has no usable name for the file; name one with --out")
	}
	return name, nil
}

const maxInput = 1 << 20

// readFile reads a file that the user named.
func readFile(path string) (text []byte, mode fs.FileMode, err error) {
	f, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if text, err = io.ReadAll(io.LimitReader(f, maxInput+1)); err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxInput {
		return nil, 0, fmt.Errorf("%s has more than %d bytes", path, maxInput)
	}
	return text, info.Mode(), nil
}

// readSecretFile reads a file and warns if others may read it too.
func (p printer) readSecretFile(path string) ([]byte, error) {
	text, mode, err := readFile(path)
	if err == nil && mode.IsRegular() && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		p.warn("others may read %s: its mode is %#o; chmod 600 it", path, mode.Perm())
	}
	return text, err
}

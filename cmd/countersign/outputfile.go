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
	"github.com/spf13/pflag"
)

// outputFlags are the flags of a command that writes a file.
type outputFlags struct {
	path  string
	force bool
}

func (f *outputFlags) addFlags(flags *pflag.FlagSet, defaultPath string) {
	flags.StringVar(&f.path, "out", "", "file to write, - for standard output (default: "+defaultPath+", in this folder)")
	flags.BoolVar(&f.force, "force", false, "replace an existing file")
}

// check refuses to write both the file and a JSON answer to standard output.
func (f *outputFlags) check(p printer) error {
	if p.json && f.path == "-" {
		return usageError{errors.New("standard output cannot take both the file and -o json; give a file with --out")}
	}
	return nil
}

// output is a file that is being written. It is a temporary file in the same folder
// until it is complete, so that an interrupted transfer leaves no partial file
// under its name. Its mode is 0600 from the first byte.
type output struct {
	path  string // "-" is standard output
	force bool
	out   io.Writer
	temp  *renameio.PendingFile
}

// create opens the output: the path of the flags, or else name. It refuses an existing
// file unless force is set, and always refuses what is not a regular file.
func (f *outputFlags) create(name string, stdout io.Writer) (*output, error) {
	path := firstOf(f.path, name)
	o := &output{path: path, force: f.force, out: stdout}
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

// free checks that nothing is at the path that must not be replaced.
func (o *output) free() error {
	info, err := os.Lstat(o.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for %s: %w", o.path, err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s exists and is not a regular file; choose another name", o.path)
	case !o.force:
		return fmt.Errorf("%s exists; --force replaces it", o.path)
	}
	return nil
}

// receipt describes a file that was written.
type receipt struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

func (r receipt) rows() [][]string {
	return [][]string{{"File", r.File}, {"Size", fmt.Sprintf("%d bytes", r.Size)}, {"SHA-256", r.SHA256}}
}

// save copies from to its end and gives the file its name. On an error, the caller
// must discard the output.
func (o *output) save(from io.Reader, progress io.Writer) (receipt, error) {
	hash := sha256.New()
	size, err := io.Copy(io.MultiWriter(o.out, hash, progress), from)
	if err != nil {
		return receipt{}, fmt.Errorf("transfer %s: %w", o.path, err)
	}
	if err := o.commit(); err != nil {
		return receipt{}, fmt.Errorf("save %s: %w", o.path, err)
	}
	return receipt{o.path, hex.EncodeToString(hash.Sum(nil)), size}, nil
}

// commit gives the file its name. Without force it first creates an empty file under
// that name, which fails if another process has made one meanwhile.
func (o *output) commit() error {
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

// discard removes the temporary file, unless the output was saved.
func (o *output) discard() error {
	if o.temp == nil {
		return nil
	}
	if err := o.temp.Cleanup(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an unfinished file: %w", err)
	}
	return nil
}

// fileName makes a safe file name from the one that a server gives: without a
// folder, without characters that control a terminal, and not hidden.
func fileName(name string) (string, error) {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.TrimLeft(clean(name), ". ")
	if name == "" || len(name) > 255 || strings.Contains(name, ":") {
		return "", errors.New("the server gave no usable name for the file; give one with --out")
	}
	return name, nil
}

// maxInput is the most bytes that are read of a file or of standard input.
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
		return nil, 0, fmt.Errorf("%s is larger than %d bytes", path, maxInput)
	}
	return text, info.Mode(), nil
}

// readSecretFile reads a file, and warns if other users may read it too.
func (p printer) readSecretFile(path string) ([]byte, error) {
	text, mode, err := readFile(path)
	if err == nil && mode.IsRegular() && mode.Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		p.warn("others may read %s: its mode is %#o; run chmod 600 on it", path, mode.Perm())
	}
	return text, err
}

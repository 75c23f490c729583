package anchor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/countersign-dev/countersign/engine"
)

// file is a file that is replaced as a whole. Its mode is 0600.
type file string

func (f file) open(context.Context) (io.ReadCloser, error) {
	in, err := os.OpenFile(string(f), os.O_RDONLY|syscall.O_NONBLOCK, 0) // to open a pipe would wait for its writer
	if errors.Is(err, os.ErrNotExist) {
		return nil, engine.CodeNotFound
	}
	if err != nil {
		return nil, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f)
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

func (f file) write(_ context.Context, _ string, text io.Reader) (err error) {
	folder := filepath.Dir(string(f))
	pending, err := renameio.NewPendingFile(string(f), renameio.WithTempDir(folder)) // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pending.Cleanup()) }()
	if _, err := io.Copy(pending, text); err != nil {
		return err
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return engine.SyncFolder(folder)
}

func (f file) in(name string) place { return file(filepath.Join(string(f), name)) }

// ReadAnchor implements [engine.AnchorTarget].
func (f file) ReadAnchor(ctx context.Context) ([]byte, error) { return readAnchor(ctx, f) }

// WriteAnchor implements [engine.AnchorTarget].
func (f file) WriteAnchor(ctx context.Context, text []byte) error {
	return f.write(ctx, mediaTypeAnchor, bytes.NewReader(text))
}

// String implements [engine.AnchorTarget].
func (f file) String() string { return string(f) }

// Close implements [io.Closer].
func (file) Close() error { return nil }

package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

// File writes entries into a file, one on each line. A file that has reached MaxSize bytes
// is renamed: the time is added to its name. Of renamed files the newest Keep stay. Next
// to the file, Path.position keeps how much of it counts: what a process wrote that was
// killed before it could store that is cut off, and written again. So the file and those
// before it have each entry once. A file without that position is renamed, too: it has
// something else. All fields must be set. Use Positions with it.
type File struct {
	Path      string
	MaxSize   int64
	Keep      int
	Encode    Encoding
	Clock     engine.Clock
	Positions FilePositions
}

// FilePositions are the positions of a [File].
type FilePositions struct {
	PositionFile
	size int64 // of the file with all that was received
}

// NewFile returns a receiver that writes to the path.
func NewFile(path string, maxSize int64, keep int, encode Encoding, clock engine.Clock) *File {
	return &File{Path: path, MaxSize: maxSize, Keep: keep, Encode: encode, Clock: clock, Positions: FilePositions{PositionFile: PositionFile{Path: path + ".position"}}}
}

// SetForwarded implements [engine.ForwardingPositions].
func (p *FilePositions) SetForwarded(_ context.Context, _ string, heads map[string]engine.AuditHead) error {
	return p.change(func(stored *position) {
		maps.Copy(stored.Heads, heads)
		stored.Size = p.size
	})
}

// Receive implements [engine.AuditReceiver].
func (f *File) Receive(_ context.Context, entries []engine.AuditEntry) (err error) {
	text, err := f.Encode.lines(entries)
	if err != nil {
		return err
	}
	out, size, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(size); err != nil {
		return err
	}
	if _, err := out.WriteAt(text, size); err != nil {
		return err
	}
	f.Positions.size = size + int64(len(text))
	return out.Sync()
}

// open opens the file, after it has renamed one that is large enough, and returns how much
// of it counts.
func (f *File) open() (file *os.File, size int64, err error) {
	stored, known, err := f.Positions.load()
	if err != nil {
		return nil, 0, err
	}
	file, found, err := f.openFile()
	if err != nil {
		return nil, 0, err
	}
	size = min(stored.Size, found) // smaller if another program renamed or truncated it
	if size >= f.MaxSize || !known && found > 0 {
		if known {
			err = file.Truncate(size)
		}
		if err = errors.Join(err, file.Close()); err == nil {
			err = f.rename()
		}
		if err != nil {
			return nil, 0, err
		}
		size = 0
		if file, _, err = f.openFile(); err != nil {
			return nil, 0, err
		}
	}
	if !known || size != stored.Size { // before anything is written that does not count
		if err := f.Positions.change(func(stored *position) { stored.Size = size }); err != nil {
			return nil, 0, errors.Join(err, file.Close())
		}
	}
	return file, size, nil
}

// openFile opens a regular file, or makes it, and returns its size. It follows no link, and
// waits for no reader of a pipe.
func (f *File) openFile() (*os.File, int64, error) {
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Path)
	}
	if err == nil {
		err = engine.CheckFileMode(f.Path, info.Mode(), engine.TrustedFile)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (f *File) rename() error {
	if err := os.Rename(f.Path, f.Path+"."+f.Clock().UTC().Format(renamedAt)); err != nil {
		return err
	}
	return errors.Join(engine.SyncFolder(filepath.Dir(f.Path)), f.removeOld())
}

// renamedAt is the layout of the time in a renamed file's name, which sorts as text.
const renamedAt = "20060102T150405.000000000Z"

func (f *File) removeOld() error {
	folder := filepath.Dir(f.Path)
	files, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	files = slices.DeleteFunc(files, func(file os.DirEntry) bool {
		at, ours := strings.CutPrefix(file.Name(), filepath.Base(f.Path)+".")
		_, err := time.Parse(renamedAt, at)
		return !ours || err != nil
	})
	for _, file := range files[:max(0, len(files)-f.Keep)] {
		if err := os.Remove(filepath.Join(folder, file.Name())); err != nil {
			return err
		}
	}
	return nil
}

// String implements [engine.AuditReceiver].
func (f *File) String() string { return "file " + f.Path }

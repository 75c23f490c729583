package runtime

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
)

// image is a copy of a plugin's binary that no process can change. The bytes that were
// hashed are the bytes that run: replacing the file on disk between the check and
// the start, or before a restart, has no effect.
type image struct {
	file *os.File
	// dynamic says that the binary needs the system's libraries to start.
	dynamic bool
}

var errChecksum = errors.New("its checksum is not the one in the catalogue")

// loadImage copies the binary at path and verifies the copy. temp is a private
// folder for systems on which a copy needs a file.
func loadImage(path string, want []byte, temp string) (*image, error) {
	source, err := os.Open(path) //nolint:gosec // the path comes from the catalogue, and what it holds is verified
	if err != nil {
		return nil, fmt.Errorf("open plugin: %w", withoutPath(err))
	}
	defer func() { _ = source.Close() }() // the file was only read
	if info, err := source.Stat(); err != nil {
		return nil, fmt.Errorf("open plugin: %w", withoutPath(err))
	} else if !info.Mode().IsRegular() {
		return nil, errors.New("open plugin: it is not a regular file")
	}
	copied, err := newImage(temp)
	if err != nil {
		return nil, fmt.Errorf("copy plugin: %w", withoutPath(err))
	}
	hash := sha256.New()
	if _, err = io.Copy(io.MultiWriter(copied.file, hash), source); err != nil {
		err = fmt.Errorf("copy plugin: %w", withoutPath(err))
	} else if !bytes.Equal(hash.Sum(nil), want) {
		err = errChecksum
	} else {
		copied.dynamic = isDynamic(copied.file)
		if err = copied.seal(); err != nil {
			err = fmt.Errorf("seal plugin: %w", withoutPath(err))
		}
	}
	if err != nil {
		return nil, errors.Join(err, copied.close())
	}
	return copied, nil
}

// withoutPath reduces an error to the system's own text. Package os adds the path,
// and the state of a plugin is shown to every user.
func withoutPath(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return errors.New("the system refused the operation")
}

// isDynamic reports whether an ELF binary names an interpreter that must load
// libraries before it can run.
func isDynamic(file *os.File) bool {
	binary, err := elf.NewFile(file)
	return err == nil && slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

package host

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

// image is a copy of a plugin's binary that nobody can change any more. What
// was hashed is what runs: a file swapped on disk between the check and the
// start, or before a restart, changes nothing.
type image struct {
	file *os.File
	// libraries tells that it cannot start without the system's own.
	libraries bool
}

// errChecksum says that a binary is not the one that the catalogue lists.
var errChecksum = errors.New("its checksum is not the one in the catalogue")

// loadImage copies the binary at path and verifies the copy. temp is a private
// folder for systems on which a copy needs a file.
func loadImage(path string, want []byte, temp string) (*image, error) {
	source, err := os.Open(path) //nolint:gosec // the path comes from the catalogue, and what it holds is verified
	if err != nil {
		return nil, fmt.Errorf("open plugin: %w", withoutPath(err))
	}
	defer func() { _ = source.Close() }() // only read from
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
		copied.libraries = linked(copied.file)
		if err = copied.seal(); err != nil {
			err = fmt.Errorf("seal plugin: %w", withoutPath(err))
		}
	}
	if err != nil {
		return nil, errors.Join(err, copied.close())
	}
	return copied, nil
}

// withoutPath is the system's own word in an error: package os names the file with
// it, and what is wrong with a plugin is shown to everybody.
func withoutPath(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return errors.New("the system refused it")
}

// linked tells whether a binary names a program that must link it before it
// can run. What is no ELF binary needs none that this host could give it.
func linked(file *os.File) bool {
	binary, err := elf.NewFile(file)
	return err == nil && slices.ContainsFunc(binary.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

package host

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
)

// image is a copy of a plugin's binary that nobody can change any more. What
// was hashed is what runs: a file swapped on disk between the check and the
// start, or before a restart, changes nothing.
type image struct {
	file *os.File
	// path starts the image, in this process's children.
	path string
}

// errChecksum says that a binary is not the one that the catalogue lists.
var errChecksum = errors.New("its checksum is not the one in the catalogue")

// loadImage copies the binary at path and verifies the copy. temp is a private
// folder for systems on which a copy needs a file.
func loadImage(path string, want []byte, temp string) (*image, error) {
	source, err := os.Open(path) //nolint:gosec // the path comes from the catalogue, and what it holds is verified
	if err != nil {
		return nil, fmt.Errorf("open plugin: %w", err)
	}
	defer func() { _ = source.Close() }() // only read from
	if info, err := source.Stat(); err != nil {
		return nil, fmt.Errorf("open plugin: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open plugin: %s is not a regular file", path)
	}
	copied, err := newImage(temp)
	if err != nil {
		return nil, fmt.Errorf("copy plugin: %w", err)
	}
	hash := sha256.New()
	if _, err = io.Copy(io.MultiWriter(copied.file, hash), source); err != nil {
		err = fmt.Errorf("copy plugin: %w", err)
	} else if !bytes.Equal(hash.Sum(nil), want) {
		err = errChecksum
	} else if err = copied.seal(); err != nil {
		err = fmt.Errorf("seal plugin: %w", err)
	}
	if err != nil {
		return nil, errors.Join(err, copied.close())
	}
	return copied, nil
}

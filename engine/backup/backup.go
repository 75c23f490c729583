// Package backup is the format of a backup: one file that holds a database, and a key
// file if that is asked for. [Write] makes it, [Read] opens it.
//
// The file is encrypted to age recipients (https://age-encryption.org/v1); nothing in it
// can be read without one of their identities, and a file that was cut short or changed is
// refused. Inside it is a gzip-compressed tar archive (RFC 1952, POSIX.1-2001):
//
//  1. manifest.json, a [Manifest]
//  2. manifest.hmac, with which [Manifest.Check] finds a backup that somebody else made
//  3. the files that the manifest lists, in its order
package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
)

// Names of the files of a backup.
const (
	Database = "countersign.db"
	KeyFile  = "local.key"

	manifestName = "manifest.json"
	macName      = "manifest.hmac"
)

const (
	format      = 1
	maxManifest = 64 << 10 // bytes
)

// Manifest says what a backup is.
type Manifest struct {
	Format int `json:"format"`
	// ID is that of no other backup.
	ID string `json:"id"`
	// MadeAt is when the database was as it is in the backup.
	MadeAt time.Time `json:"made_at"`
	// Host and Version are those of the machine and the program that made it.
	Host    string `json:"host"`
	Version string `json:"version"`
	Files   []File `json:"files"`

	text, mac []byte // as they are in the backup
}

// File is one file of a backup. SHA256 is in hex, Size in bytes.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`

	path string
}

// Add adds the file at a path. It must not change until the backup is written.
func (m *Manifest) Add(name, path string) error {
	file, err := os.Open(path) //nolint:gosec // the caller names the file
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // opened for reading: nothing can be lost
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	m.Files = append(m.Files, File{Name: name, Size: size, SHA256: hex.EncodeToString(hash.Sum(nil)), path: path})
	return err
}

// Has reports whether the backup has a file.
func (m *Manifest) Has(name string) bool {
	for _, f := range m.Files {
		if f.Name == name {
			return true
		}
	}
	return false
}

// errForged is what is wrong with a backup that another installation made, or nobody.
var errForged = errors.New("the backup was not made by the installation that its database is of: its HMAC does not match")

// Check returns an error unless who made the backup had the audit key.
func (m *Manifest) Check(auditKey []byte) error {
	if !hmac.Equal(m.mac, mac(auditKey, m.text)) {
		return errForged
	}
	return nil
}

// mac is the HMAC-SHA-256 of a manifest, in hex.
func mac(auditKey, manifest []byte) []byte {
	key, err := hkdf.Key(sha256.New, auditKey, nil, "countersign backup manifest v1", sha256.Size)
	if err != nil {
		panic(err) // HKDF fails only for lengths that no hash allows
	}
	sum := hmac.New(sha256.New, key)
	sum.Write(manifest)
	return hex.AppendEncode(nil, sum.Sum(nil))
}

// Write writes a backup that only the recipients can open. The audit key is that of the
// installation.
func Write(w io.Writer, recipients []age.Recipient, m Manifest, auditKey []byte) error {
	m.Format = format
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	encrypted, err := age.Encrypt(w, recipients...)
	if err != nil {
		return fmt.Errorf("encrypt the backup: %w", err)
	}
	compressed := gzip.NewWriter(encrypted)
	archive := tar.NewWriter(compressed)
	if err = add(archive, m, manifestName, int64(len(text)), bytes.NewReader(text)); err == nil {
		sum := mac(auditKey, text)
		err = add(archive, m, macName, int64(len(sum)), bytes.NewReader(sum))
	}
	for _, f := range m.Files {
		if err == nil {
			err = addFile(archive, m, f)
		}
	}
	for _, c := range []io.Closer{archive, compressed, encrypted} {
		if err == nil {
			err = c.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return nil
}

func addFile(to *tar.Writer, m Manifest, f File) error {
	from, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // opened for reading: nothing can be lost
	hash := sha256.New()
	err = add(to, m, f.Name, f.Size, io.TeeReader(from, hash))
	if err == nil && hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		err = fmt.Errorf("%s changed meanwhile", f.path)
	}
	return err
}

func add(to *tar.Writer, m Manifest, name string, size int64, from io.Reader) error {
	if err := to.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: m.MadeAt}); err != nil {
		return err
	}
	_, err := io.Copy(to, from)
	return err
}

// Read opens a backup and puts its files into a folder, where they must not exist. It
// returns an error, and leaves what it wrote there, unless the backup is whole. That does
// not say who made it; [Manifest.Check] does.
func Read(r io.Reader, identities []age.Identity, folder string) (Manifest, error) {
	m, err := read(r, identities, folder)
	if err != nil {
		return m, fmt.Errorf("read the backup: %w", err)
	}
	return m, nil
}

func read(r io.Reader, identities []age.Identity, folder string) (m Manifest, err error) {
	decrypted, err := age.Decrypt(r, identities...)
	if err != nil {
		return m, err
	}
	compressed, err := gzip.NewReader(decrypted)
	if err != nil {
		return m, err
	}
	archive := tar.NewReader(compressed)
	if m.text, err = next(archive, manifestName); err != nil {
		return m, err
	}
	if err := json.Unmarshal(m.text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestName, err)
	}
	if m.Format != format {
		return m, fmt.Errorf("it has format %d, and this program reads format %d; use the program %s", m.Format, format, m.Version)
	}
	if m.mac, err = next(archive, macName); err != nil {
		return m, err
	}
	for _, f := range m.Files {
		if err := extract(archive, f, folder); err != nil {
			return m, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	// The last bytes tell whether the file was cut short.
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		return m, errors.Join(errors.New("it has more files than its manifest lists"), err)
	}
	_, err = io.Copy(io.Discard, compressed) //nolint:gosec // what is read is thrown away
	return m, err
}

// next reads a short file.
func next(archive *tar.Reader, name string) ([]byte, error) {
	header, err := archive.Next()
	if err != nil {
		return nil, err
	}
	if header.Name != name || header.Size > maxManifest {
		return nil, fmt.Errorf("it has %q of %d bytes where %s belongs", header.Name, header.Size, name)
	}
	return io.ReadAll(archive)
}

// extract writes a file, as the manifest says it is.
func extract(archive *tar.Reader, f File, folder string) (err error) {
	if f.Name != Database && f.Name != KeyFile {
		return errors.New("no backup has such a file")
	}
	header, err := archive.Next()
	if err != nil {
		return err
	}
	if header.Name != f.Name || header.Size != f.Size {
		return fmt.Errorf("it has %q of %d bytes in its place", header.Name, header.Size)
	}
	to, err := os.OpenFile(filepath.Join(folder, f.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the name is one of two
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, hash), archive); err != nil { //nolint:gosec // the header's size, which is the manifest's, limits it
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return errors.New("its SHA-256 is not the one of the manifest")
	}
	return to.Sync()
}

package catalogue

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"

	"github.com/countersign-dev/countersign/engine"
)

// Write copies the catalogue at source to dir/catalogue.json with the checksums of
// the binaries in dir. If there is a catalogue in dir already, the new entries
// replace its built-in ones and keep the projects and limits that an operator
// set there; entries that an operator added do not change. Write fails if one of those
// has the name of a built-in plugin. The server refuses what other users can write,
// so Write takes that permission from dir and the binaries, which some umasks give.
func Write(source, dir string) error {
	c, err := Read(source)
	if err != nil {
		return err
	}
	if err := withoutOtherWriters(dir); err != nil {
		return fmt.Errorf("write plugin catalogue: %w", err)
	}
	for i := range c.Plugins {
		e := &c.Plugins[i]
		if !filepath.IsLocal(e.Path) {
			return fmt.Errorf("write plugin catalogue: %s: path %q leads out of the catalogue's folder", e.Name, e.Path)
		}
		binary := filepath.Join(dir, e.Path)
		if err = withoutOtherWriters(binary); err == nil {
			e.SHA256, err = Checksum(binary)
		}
		if err != nil {
			return fmt.Errorf("write plugin catalogue: %s: %w", e.Name, err)
		}
		e.BuiltIn = true
	}
	path := filepath.Join(dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return save(path, c)
	}
	return change(path, func(current *Catalogue) error {
		for i := range c.Plugins {
			if old, ok := current.Find(c.Plugins[i].Name); ok {
				c.Plugins[i].keepSettings(old)
			}
		}
		for _, e := range current.Plugins {
			_, replaced := c.Find(e.Name)
			switch {
			case replaced && !e.BuiltIn:
				return fmt.Errorf("write plugin catalogue: it lists a plugin %s that is not built in; give that another name, or remove it", e.Name)
			case !replaced && !e.BuiltIn:
				c.Plugins = append(c.Plugins, e)
			}
		}
		*current = c
		return nil
	})
}

func withoutOtherWriters(path string) error {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&engine.TrustedFile == 0 {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^engine.TrustedFile)
}

// keepSettings takes over what the operator set in the entry that this one replaces.
func (e *Entry) keepSettings(old Entry) {
	if e.Projects == nil {
		e.Projects = old.Projects
	}
	if e.Limits == (Limits{}) {
		e.Limits = old.Limits
	}
}

// change edits an existing catalogue under a lock, so that no edit of another
// process is lost.
func change(path string, edit func(*Catalogue) error) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("change plugin catalogue: %w", err)
	}
	defer func() { _ = folder.Close() }() // this releases the lock
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock plugin catalogue: %w", err)
	}
	c, err := Read(path)
	if err != nil {
		return err
	}
	if err := edit(&c); err != nil {
		return err
	}
	return save(path, c)
}

func save(path string, c Catalogue) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = replaceFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write plugin catalogue: %w", err)
	}
	return nil
}

// replaceFile replaces a file atomically: a reader finds the old content or the
// new, never a part. The temporary file is in the same folder, because a rename
// cannot cross file systems. The mode does not depend on the umask, because the
// server may run as another user than the one who writes its catalogue.
func replaceFile(path string, content []byte, mode fs.FileMode) error {
	file, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }() // it does nothing once the file is in place
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
)

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// written is a backup of some files, and who can open it.
func written(t *testing.T, content map[string]string) ([]byte, *age.X25519Identity) {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	noError(t, err)
	m := Manifest{ID: "backup_1", Version: "test"}
	for _, name := range []string{Database, KeyFile} {
		path := filepath.Join(t.TempDir(), name)
		noError(t, os.WriteFile(path, []byte(content[name]), 0o600))
		noError(t, m.Add(name, path))
	}
	var out bytes.Buffer
	noError(t, Write(&out, []age.Recipient{identity.Recipient()}, m, []byte("audit key")))
	return out.Bytes(), identity
}

func TestReadGivesWhatWasWritten(t *testing.T) {
	content := map[string]string{Database: "a database", KeyFile: "a key"}
	text, identity := written(t, content)
	folder := t.TempDir()
	m, err := Read(bytes.NewReader(text), []age.Identity{identity}, folder)
	noError(t, err)
	for name, want := range content {
		got, err := os.ReadFile(filepath.Join(folder, name))
		noError(t, err)
		if string(got) != want || !m.Has(name) || bytes.Contains(text, []byte(want)) {
			t.Errorf("%s: %q, want %q, and it must not be readable in the backup", name, got, want)
		}
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	noError(t, m.Check([]byte("audit key")))
	if err := m.Check([]byte("another key")); err == nil {
		t.Error("a backup of another installation passes its check")
	}
	if _, err := Read(bytes.NewReader(text), []age.Identity{identity}, folder); err == nil {
		t.Error("files that exist were replaced")
	}
}

// Whatever is changed in a backup, and wherever it is cut, Read finds it.
func TestChangedBackupsAreRefused(t *testing.T) {
	text, identity := written(t, map[string]string{Database: "a database", KeyFile: "a key"})
	refused := func(what string, text []byte) {
		t.Helper()
		if _, err := Read(bytes.NewReader(text), []age.Identity{identity}, t.TempDir()); err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		refused("a changed byte", changed)
		refused("a part", text[:i])
	}
	refused("a longer file", append(bytes.Clone(text), 0))
	other, err := age.GenerateX25519Identity()
	noError(t, err)
	identity = other
	refused("a backup for somebody else", text)
}

// Who knows the recipient can encrypt anything to it. No file is written outside the
// folder, and none that the manifest does not list.
func TestForgedBackupsAreRefused(t *testing.T) {
	hash := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // of nothing
	listed := func(names ...string) (m Manifest) {
		for _, name := range names {
			m.Files = append(m.Files, File{Name: name, SHA256: hash})
		}
		return m
	}
	for what, forged := range map[string]struct {
		manifest Manifest
		format   int
		files    []string
	}{
		"a file outside the folder":   {listed("../countersign.db"), format, []string{"../countersign.db"}},
		"a file that is not listed":   {listed(Database), format, []string{Database, KeyFile}},
		"a file that is missing":      {listed(Database, KeyFile), format, []string{Database}},
		"a file twice":                {listed(Database, Database), format, []string{Database, Database}},
		"files in another order":      {listed(Database, KeyFile), format, []string{KeyFile, Database}},
		"a format of another program": {listed(Database), format + 1, []string{Database}},
	} {
		identity, err := age.GenerateX25519Identity()
		noError(t, err)
		var out bytes.Buffer
		encrypted, err := age.Encrypt(&out, identity.Recipient())
		noError(t, err)
		compressed := gzip.NewWriter(encrypted)
		archive := tar.NewWriter(compressed)
		forged.manifest.Format = forged.format
		text, err := json.Marshal(forged.manifest)
		noError(t, err)
		noError(t, add(archive, forged.manifest, manifestName, int64(len(text)), bytes.NewReader(text)))
		noError(t, add(archive, forged.manifest, macName, 0, bytes.NewReader(nil)))
		for _, name := range forged.files {
			noError(t, add(archive, forged.manifest, name, 0, bytes.NewReader(nil)))
		}
		for _, c := range []interface{ Close() error }{archive, compressed, encrypted} {
			noError(t, c.Close())
		}
		above := t.TempDir()
		folder := filepath.Join(above, "folder")
		noError(t, os.Mkdir(folder, 0o700))
		if _, err := Read(&out, []age.Identity{identity}, folder); err == nil {
			t.Errorf("%s is accepted", what)
		}
		if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
			t.Errorf("%s: %d files above the folder, %v", what, len(left)-1, err)
		}
	}
}

package keys_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine/keys"
)

func TestKeyFileIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state", "keys")
	path := filepath.Join(folder, "local.key")
	var log bytes.Buffer
	sealed := mustSeal(t, open(t, keys.Options{KeyFile: path, Logger: slog.New(slog.NewTextHandler(&log, nil))}))
	for name, want := range map[string]os.FileMode{path: 0o600, folder: 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, error %v, want mode %v", name, info.Mode(), err, want)
		}
	}
	if entries, err := os.ReadDir(folder); err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, error %v, want the key file alone", entries, err)
	}
	key, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), string(key[:20])) {
		t.Errorf("the log says %q, want a warning without the key", log.String())
	}
	raw, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(key)))
	if err != nil || len(raw) != 32 || bytes.Equal(raw, make([]byte, 32)) {
		t.Errorf("the file holds %d bytes, error %v, want 32 random ones", len(raw), err)
	}
	if got, err := open(t, keys.Options{KeyFile: path}).Open(t.Context(), identity, sealed); err != nil || !bytes.Equal(got, canary) {
		t.Errorf("after a restart it opens %q, error %v", got, err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, key) {
		t.Errorf("a restart changed the key file (%v)", err)
	}
}

func TestManyProcessesAgreeOnTheKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.key")
	var ids sync.Map
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			s, err := keys.Open(t.Context(), keys.Options{KeyFile: path, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Error(err)
				return
			}
			sealed, err := s.Seal(t.Context(), identity, canary)
			if err != nil {
				t.Error(err)
			}
			ids.Store(sealed.KeeperID, true)
		})
	}
	group.Wait()
	count := 0
	ids.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d keys are in use, want 1", count)
	}
}

func TestInvalidKeyFileIsRefusedAndKept(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)) + "\n"
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		want    string
	}{
		"empty":             {"", 0o600, "not a key file"},
		"short":             {"c2hvcnQ=\n", 0o600, "not a key file"},
		"garbage":           {strings.Repeat("?", 4096), 0o600, "not a key file"},
		"two keys":          {good + good, 0o600, "not a key file"},
		"readable by group": {good, 0o640, "by other users"},
		"readable by all":   {good, 0o604, "by other users"},
		"writable by group": {good, 0o620, "by other users"},
	} {
		path := filepath.Join(t.TempDir(), "local.key")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := keys.Open(t.Context(), keys.Options{KeyFile: path})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), good[:20]) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != c.content {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
	}
}

func TestKeyFileOfOpenSSLIsAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "local.key")
	run(t, "openssl", "rand", "-base64", "-out", path, "32")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	mustSeal(t, open(t, keys.Options{KeyFile: path}))
}

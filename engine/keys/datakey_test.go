package keys_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/keys"
	"github.com/countersign-dev/countersign/engine/store/sqlite"
)

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func openStore(t *testing.T) engine.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "countersign.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

func TestDataKeyIsOneForAllProcesses(t *testing.T) {
	store := openStore(t)
	got := make([][]byte, 8)
	var group sync.WaitGroup
	for i := range got {
		sealer := open(t, keys.Options{Keeper: keyURL(1)})
		group.Go(func() {
			var err error
			if got[i], err = keys.DataKey(t.Context(), sealer, store, "payloads"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, key := range got {
		if len(key) != 32 || bytes.Equal(key, make([]byte, 32)) || !bytes.Equal(key, got[0]) {
			t.Fatal("the processes do not have one random key of 32 bytes")
		}
	}
	sealer := open(t, keys.Options{Keeper: keyURL(1)})
	other, err := keys.DataKey(t.Context(), sealer, store, "another")
	if err != nil || bytes.Equal(other, got[0]) {
		t.Errorf("another id has the same key, or error %v", err)
	}
}

func TestDataKeyRefusesWhatItDidNotSeal(t *testing.T) {
	store := openStore(t)
	sealer := open(t, keys.Options{Keeper: keyURL(1)})
	planted := mustSeal(t, sealer)
	if _, err := store.DataKey(t.Context(), "payloads", planted); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.DataKey(t.Context(), sealer, store, "payloads"); err == nil || !strings.Contains(err.Error(), "another record") {
		t.Errorf("error %v, want one about another record's key", err)
	}
	short, err := sealer.Seal(t.Context(), "data-key/short", []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.DataKey(t.Context(), "short", short); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.DataKey(t.Context(), sealer, store, "short"); err == nil || !strings.Contains(err.Error(), "3 bytes") {
		t.Errorf("error %v, want one about the length", err)
	}
}

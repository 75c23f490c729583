package keys_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/countersign-dev/countersign/engine/keys"
)

// identityFile writes a file as age-keygen does.
func identityFile(t *testing.T, identities ...fmt.Stringer) string {
	t.Helper()
	text := "# created: 2026-11-29T12:00:00Z\n# public key: age1\n"
	for _, identity := range identities {
		text += identity.String() + "\n"
	}
	path := filepath.Join(t.TempDir(), "identity.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A key that an age identity wraps is unwrapped by the same identity only.
func TestAgeIdentityIsAKeeper(t *testing.T) {
	ordinary, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ identity, another fmt.Stringer }{{ordinary, hybrid}, {hybrid, ordinary}} {
		url := "age://" + identityFile(t, c.identity)
		sealed := mustSeal(t, open(t, keys.Options{Keeper: url}))
		if strings.Contains(sealed.KeeperID, "identity") || !strings.HasPrefix(sealed.KeeperID, "local:") {
			t.Errorf("the keeper is named %s", sealed.KeeperID)
		}
		if got, err := open(t, keys.Options{Keeper: url}).Open(t.Context(), identity, sealed); err != nil || !bytes.Equal(got, canary) {
			t.Errorf("opened %q, error %v", got, err)
		}
		if got, err := open(t, keys.Options{Keeper: "age://" + identityFile(t, c.another)}).Open(t.Context(), identity, sealed); err == nil {
			t.Errorf("another identity opens %q", got)
		}
	}
	two := identityFile(t, ordinary, hybrid)
	readable := identityFile(t, ordinary)
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"two identities": "age://" + two, "no identity": "age://" + identityFile(t), "others may read it": "age://" + readable,
		"no file": "age:///nowhere", "two slashes": "age://identity.txt",
	} {
		if _, err := keys.Open(t.Context(), keys.Options{Keeper: url}); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

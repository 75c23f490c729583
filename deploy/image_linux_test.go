package deploy

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// readImage reads the image of a tar file.
func readImage(t *testing.T, file string) v1.Image {
	t.Helper()
	folder := t.TempDir()
	run(t, exec.CommandContext(t.Context(), "tar", "-xf", file, "-C", folder))
	index, err := layout.ImageIndexFromPath(folder)
	noError(t, err)
	manifest, err := index.IndexManifest()
	noError(t, err)
	if len(manifest.Manifests) != 1 {
		t.Fatalf("the image has %d manifests", len(manifest.Manifests))
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	noError(t, err)
	return image
}

// The server of the image runs as the image says, without privileges, on a root that
// nobody can write to, with every plugin confined completely if the engine lets the server
// make user namespaces; data is kept in /data alone.
func TestTheImage(t *testing.T) {
	image := readImage(t, artifact(t, "IMAGE"))
	config, err := image.ConfigFile()
	noError(t, err)
	user, err := strconv.Atoi(strings.Split(config.Config.User, ":")[0])
	if err != nil || user == 0 {
		t.Fatalf("it runs as %q, and must run as a number that is not 0", config.Config.User)
	}
	if config.Config.Labels["org.opencontainers.image.version"] == "" || config.Config.Labels["org.opencontainers.image.revision"] == "" {
		t.Errorf("its labels are %v", config.Config.Labels)
	}

	root := t.TempDir()
	noError(t, os.Chmod(root, 0o755))
	unpack := exec.CommandContext(t.Context(), "tar", "--numeric-owner", "--same-permissions", "-x", "-C", root)
	content := mutate.Extract(image)
	defer content.Close()
	unpack.Stdin = io.Reader(content)
	run(t, unpack)

	m := machine{
		Root: root, User: user, Writable: []string{"/data"},
		Args: append(config.Config.Entrypoint, config.Config.Cmd...),
		Env: append(config.Config.Env, "COUNTERSIGN_LISTEN=127.0.0.1:0", "COUNTERSIGN_LISTEN_ADMIN=127.0.0.1:0", // others may listen on this machine
			"COUNTERSIGN_BOOTSTRAP=/data/bootstrap.json", "COUNTERSIGN_SANDBOX_MODE=require", "TZ=Asia/Kolkata"),
	}
	s := m.serve(t)
	s.ready("/readyz")
	admin := s.administrator(filepath.Join(root, "usr/lib/countersign/countersign"), filepath.Join(root, "data/bootstrap.json"))
	admin.downloadsTheFirstFile()
	admin.isWhole()
	s.stop()
	if !strings.Contains(s.log.String(), "+05:30") {
		t.Error("the log is not in the time zone that TZ names")
	}
	if text, err := os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt")); err != nil || strings.Count(string(text), "BEGIN CERTIFICATE") < 50 {
		t.Errorf("it has too few authorities: %v", err)
	}
}

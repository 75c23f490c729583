// Command image makes the container image of a staged release, without a container
// engine and without a base image: the server is one static program, so the image has
// that, its plugins, the authorities that TLS clients trust, and a user.
//
// The image is written as an OCI layout in a tar file, which `podman load`, `docker load`
// (from version 25 on), `skopeo` and `crane` read. The same files give the same digest.
package main

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// user is the numeric id of the user and the group that the server runs as. Kubernetes
// accepts only a number as proof that it is not root.
const user = 65532

const source = "https://github.com/countersign-dev/countersign"

func main() {
	var r release
	flag.StringVar(&r.stage, "from", "", "folder of the staged release")
	flag.StringVar(&r.arch, "arch", "amd64", "architecture of its programs")
	flag.StringVar(&r.version, "version", "dev", "version that the image's label names")
	flag.StringVar(&r.commit, "commit", "", "commit that the image's label names")
	out := flag.String("out", "", "tar file to write")
	flag.Parse()
	digest, err := r.write(*out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
	_, _ = fmt.Fprintln(os.Stdout, digest)
}

// release is what an image is made of.
type release struct{ stage, arch, version, commit string }

// write writes the image to a tar file and returns its digest.
func (r release) write(out string) (string, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return "", fmt.Errorf("read SOURCE_DATE_EPOCH, the time of everything in the image: %w", err)
	}
	made := time.Unix(seconds, 0).UTC()
	image, err := r.image(made)
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "countersign-image")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // the folder is temporary
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return "", fmt.Errorf("write image: %w", err)
	}
	named := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": r.version,
		"io.containerd.image.name":          "docker.io/library/countersign:" + r.version, // what Docker calls it after a load
	})
	if err := path.AppendImage(image, named, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: r.arch})); err != nil {
		return "", fmt.Errorf("write image: %w", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	f, err := os.Create(out) //nolint:gosec // the caller names the file
	if err != nil {
		return "", err
	}
	contents := newFiles(f, made)
	return digest.String(), errors.Join(contents.tree(folder, ""), contents.Close(), f.Close())
}

// image is one layer with what every version has, and one with the server.
func (r release) image(made time.Time) (v1.Image, error) {
	base, err := layer(made, baseFiles)
	if err != nil {
		return nil, err
	}
	server, err := layer(made, r.serverFiles)
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), base, server)
	if err != nil {
		return nil, fmt.Errorf("add layers: %w", err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config.OS, config.Architecture, config.Created = "linux", r.arch, v1.Time{Time: made}
	config.Config = v1.Config{
		User:       fmt.Sprintf("%d:%[1]d", user),
		Entrypoint: []string{"/usr/bin/countersign"},
		Cmd:        []string{"serve"},
		Env: []string{
			"PATH=/usr/bin", "USER=countersign", "HOME=/data", // Temporal asks for both, also for a user whom the image does not know
			"COUNTERSIGN_DATA=/data", "COUNTERSIGN_LISTEN=0.0.0.0:8080", "COUNTERSIGN_LOG_FORMAT=json",
		},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		StopSignal:   "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Countersign",
			"org.opencontainers.image.source":   source,
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.version":  r.version,
			"org.opencontainers.image.revision": r.commit,
			"org.opencontainers.image.created":  made.Format(time.RFC3339),
		},
	}
	return mutate.ConfigFile(image, config)
}

func layer(made time.Time, fill func(files) error) (v1.Layer, error) {
	var content bytes.Buffer
	f := newFiles(&content, made)
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return nil, fmt.Errorf("make layer: %w", err)
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}

func baseFiles(f files) error {
	return errors.Join(
		f.folder("data", 0o700, user),
		f.folder("etc", 0o755, 0),
		f.file("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\ncountersign:x:%d:\n", user)),
		f.file("etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\ncountersign:x:%d:%[1]d:Countersign:/data:/sbin/nologin\n", user)),
		f.folder("etc/ssl", 0o755, 0),
		f.folder("etc/ssl/certs", 0o755, 0),
		f.file("etc/ssl/certs/ca-certificates.crt", 0o644, authorities()),
		f.folder("tmp", 0o1777, 0),
	)
}

// authorities are the roots that Mozilla trusts for TLS, at the version that go.mod names.
// Those that it trusts only for certificates issued until some day are left out, because a
// file cannot say that.
func authorities() []byte {
	var list bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if _, err := x509.ParseCertificate(root.Certificate); err == nil {
			_ = pem.Encode(&list, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
		}
	}
	return list.Bytes()
}

func (r release) serverFiles(f files) error {
	return errors.Join(
		f.folder("usr", 0o755, 0),
		f.folder("usr/bin", 0o755, 0),
		f.link("usr/bin/countersign", "../lib/countersign/countersign"),
		f.folder("usr/lib", 0o755, 0),
		f.folder("usr/lib/countersign", 0o755, 0),
		f.copy("usr/lib/countersign/countersign", filepath.Join(r.stage, "countersign")),
		f.folder("usr/lib/countersign/plugins", 0o755, 0),
		f.tree(filepath.Join(r.stage, "plugins"), "usr/lib/countersign/plugins/"),
		f.copy("usr/lib/countersign/LICENSE", filepath.Join(r.stage, "LICENSE")),
	)
}

// files writes a tar file in which everything has the same time.
type files struct {
	*tar.Writer
	made time.Time
}

func newFiles(w io.Writer, made time.Time) files { return files{tar.NewWriter(w), made} }

func (f files) header(h tar.Header) error {
	h.ModTime, h.Format = f.made, tar.FormatPAX
	return f.WriteHeader(&h)
}

func (f files) folder(name string, mode int64, owner int) error {
	return f.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, Uid: owner, Gid: owner})
}

func (f files) link(name, to string) error {
	return f.header(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777})
}

func (f files) file(name string, mode int64, content []byte) error {
	if err := f.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := f.Write(content)
	return err
}

// copy copies a file of the disk, which may be run if its user may run it.
func (f files) copy(name, from string) error {
	content, err := os.ReadFile(from) //nolint:gosec // the caller names the folder
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	return f.file(name, mode, content)
}

// tree copies the files of a folder of the disk, in the order of their names.
func (f files) tree(from, prefix string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if name = prefix + filepath.ToSlash(name); entry.IsDir() {
			return f.folder(name, 0o755, 0)
		}
		return f.copy(name, path)
	})
}

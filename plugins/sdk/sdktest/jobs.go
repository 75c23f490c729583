// Package sdktest helps to test format plugins: it creates real certificates,
// compares rendered files with golden files, and runs tools that open them. Start
// with [JobsFor], which creates every job that a renderer must be able to render.
package sdktest

import (
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/specimen"
)

// Passphrase is the passphrase of every job.
const Passphrase = specimen.Passphrase

// HostileNames are names of certificates that a renderer must escape: they have a
// meaning in paths, headers, manifests or C strings.
var HostileNames = specimen.HostileNames

// Jobs creates one job for each kind of key: rsa with one intermediate, ecdsa (P-256)
// with two, ed25519 with none, p384 with three and p521 with one. A job has a key, a
// passphrase and empty options, but no format.
func Jobs(t testing.TB) []sdk.Job {
	t.Helper()
	jobs := make([]sdk.Job, len(specimen.Kinds))
	for i, kind := range specimen.Kinds {
		var err error
		if kind == "ed25519" {
			jobs[i], err = specimen.Golden(0)
		} else {
			jobs[i], err = specimen.New(kind, []int{1, 2, 0, 3, 1}[i])
		}
		check(t, err)
	}
	return jobs
}

// JobsFor creates jobs for each format of the renderer: the jobs of [Jobs], and one
// for each of [HostileNames]. As with a real host, a job has a key or passphrase only
// if the format declares the need, and a format that needs a chain gets only
// certificates with one. The test itself must add the files of included formats.
func JobsFor(t testing.TB, r sdk.Renderer) []sdk.Job {
	t.Helper()
	all := Jobs(t)
	for _, name := range HostileNames {
		job := all[0]
		job.Name = name
		all = append(all, job)
	}
	var jobs []sdk.Job
	for _, format := range r.Formats() {
		for _, job := range all {
			job.Format = format.ID
			if !format.NeedsKey {
				job.PrivateKey = nil
			}
			if !format.NeedsPassphrase {
				job.Passphrase = ""
			}
			if len(job.Chain) > 0 || !format.NeedsChain {
				jobs = append(jobs, job)
			}
		}
	}
	return jobs
}

// GoldenJob creates an ed25519 job with the given number of intermediates. It is
// always the same, byte for byte.
func GoldenJob(t testing.TB, intermediates int) sdk.Job {
	t.Helper()
	job, err := specimen.Golden(intermediates)
	check(t, err)
	return job
}

// WithAnotherKey returns the job with a key of the same kind that does not match the
// certificate.
func WithAnotherKey(t testing.TB, job sdk.Job) sdk.Job {
	t.Helper()
	job, err := specimen.WithAnotherKey(job)
	check(t, err)
	return job
}

// RootPEM returns the root certificate of every job's chain.
func RootPEM(t testing.TB) []byte {
	t.Helper()
	root, err := specimen.Root()
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
}

// Run writes the file to a temporary path, runs the program with that path as its
// last argument, and returns its output. The test fails if the program is missing or
// fails.
func Run(t testing.TB, file []byte, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, file, 0o600))
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test needs %s; install it: %v", program, err)
	}
	printed, err := exec.Command(program, append(args, path)...).CombinedOutput() //nolint:gosec,noctx // the test chooses the program
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, printed)
	}
	return string(printed)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

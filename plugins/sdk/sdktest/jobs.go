// Package sdktest makes real certificates for the tests of format plugins, keeps
// their goldens, and runs the tools that open what they render. Start with
// [JobsFor], which has all that a renderer must be able to make.
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

// Passphrase is that of every job.
const Passphrase = specimen.Passphrase

// HostileNames are names of certificates that no renderer may take over as they
// are: they mean something in paths, headers, manifests or C.
var HostileNames = specimen.HostileNames

// Jobs makes one job for each kind of key: rsa with one intermediate, ecdsa on
// P-256 with two, ed25519 with no chain, p384 with three and p521 with one. They
// carry key, passphrase and empty options, but no format.
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

// JobsFor makes jobs for each format of the renderer: one for each kind of key as
// [Jobs] has them, and one for each of [HostileNames]. They are as a host would
// hand them over: key and passphrase are there only where the format declares the
// need, and a format that needs a chain gets no certificate without one. The files
// of included formats are the test's to add.
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

// GoldenJob makes an ed25519 job with so many intermediates that is the same,
// byte for byte, every time.
func GoldenJob(t testing.TB, intermediates int) sdk.Job {
	t.Helper()
	job, err := specimen.Golden(intermediates)
	check(t, err)
	return job
}

// WithAnotherKey is the job with a key of the same kind that is not the
// certificate's.
func WithAnotherKey(t testing.TB, job sdk.Job) sdk.Job {
	t.Helper()
	job, err := specimen.WithAnotherKey(job)
	check(t, err)
	return job
}

// RootPEM is the root above every job's chain.
func RootPEM(t testing.TB) []byte {
	t.Helper()
	root, err := specimen.Root()
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
}

// Run starts a program that the tests need, with a file for its last argument,
// and returns what it printed. A missing or failing program fails the test.
func Run(t testing.TB, file []byte, program string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, file, 0o600))
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("this test opens rendered files with %s, which is not installed: %v", program, err)
	}
	printed, err := exec.Command(program, append(args, path)...).CombinedOutput() //nolint:gosec,noctx // tests name their tools
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

package sdk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/countersign-dev/countersign/plugins/sdk"
)

// sums is a plugin that includes files of another plugin.
type sums struct{}

func (sums) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "sums", Filename: "SHA256SUMS", MediaType: "text/plain",
		Description: "The SHA-256 sums of the certificate's files.",
		TypicalUse:  "sha256sum --check, in the folder of the files.",
		Includes:    []string{"cert", "chain"},
	}}
}

func (sums) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	var file bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(job.Files)) {
		fmt.Fprintf(&file, "%x  %s\n", sha256.Sum256(job.Files[name]), name)
	}
	return file.Bytes(), nil
}

// A format that includes others receives their files in the job, by file name. This
// certificate has no chain, so there is no chain.pem.
func ExampleFormat_includes() {
	file, err := sums{}.Render(context.Background(), sdk.Job{
		Format: "sums", Files: map[string][]byte{"cert.pem": []byte("the certificate\n")},
	})
	fmt.Printf("%s%v\n", file, err)
	// Output:
	// c1e55ee7f05ed11c90c90eb7fcc6dcd0e1735983dbe9b85bebc237782e0b045c  cert.pem
	// <nil>
}

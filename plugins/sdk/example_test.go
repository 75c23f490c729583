package sdk_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/specimen"
)

// pins is a complete plugin. It renders the pin of a certificate's public key, in the
// form that curl reads.
type pins struct{}

func (pins) Formats() []sdk.Format {
	return []sdk.Format{{
		ID: "pin", Filename: "pin.txt", MediaType: "text/plain",
		Description: "The SHA-256 of the certificate's public key.",
		TypicalUse:  "curl --pinnedpubkey, which then refuses every other key.",
	}}
}

func (pins) Render(_ context.Context, job sdk.Job) ([]byte, error) {
	leaf, _, err := job.Certificates()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return fmt.Appendln(nil, "sha256//"+base64.StdEncoding.EncodeToString(sum[:])), nil
}

// The plugin's main function is one line, sdk.Serve(pins{}). Render works without a
// host, here with a certificate of package specimen.
func Example() {
	job, err := specimen.Golden(0)
	if err != nil {
		fmt.Println(err)
	}
	job.Format = "pin"
	file, err := pins{}.Render(context.Background(), job)
	fmt.Printf("%s%v\n", file, err)
	// Output:
	// sha256//3jeaI1nnrqJOU6XoHw3eDmAQr08BmuhJeXsAhUKrY+0=
	// <nil>
}

package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func TestRenderIsGolden(t *testing.T) {
	for chain := range 4 {
		job := sdktest.GoldenJob(t, chain)
		for _, encoding := range []string{"pem", "der"} {
			job.Options = fmt.Appendf(nil, `{"encoding":%q}`, encoding)
			file, err := render(job)
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, fmt.Sprintf("bundle-%d.%s", chain, encoding), file)
		}
	}
}

func TestOpenSSLAndJavaOpenEveryBundle(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		for options, inform := range map[string]string{`{}`: "PEM", `{"encoding":"pem"}`: "PEM", `{"encoding":"der"}`: "DER"} {
			t.Run(job.Name+options, func(t *testing.T) {
				job.Options = []byte(options)
				bundle, err := renderer{}.Render(t.Context(), job)
				if err != nil {
					t.Fatal(err)
				}
				printed := sdktest.Run(t, bundle, "openssl", "pkcs7", "-print_certs", "-inform", inform, "-in")
				rest, want := []byte(printed), append([][]byte{job.Leaf}, job.Chain...)
				for i, der := range want {
					var block *pem.Block
					if block, rest = pem.Decode(rest); block == nil || !bytes.Equal(block.Bytes, der) {
						t.Fatalf("certificate %d of %d is not in its place:\n%s", i, len(want), printed)
					}
				}
				if block, _ := pem.Decode(rest); block != nil {
					t.Error("the bundle has more certificates than the job")
				}
				if listed := sdktest.Run(t, bundle, "keytool", "-J-Duser.language=en", "-printcert", "-file"); strings.Count(listed, "Serial number:") != len(want) {
					t.Errorf("keytool lists\n%s", listed)
				}
			})
		}
	}
}

func TestFileDoesNotContainTheName(t *testing.T) {
	job := sdktest.GoldenJob(t, 1)
	want, err := render(job)
	if err != nil {
		t.Fatal(err)
	}
	for _, job.Name = range sdktest.HostileNames {
		if got, err := render(job); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file of %q differs (%v)", job.Name, err)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(*sdk.Job){
		"no certificate":        func(j *sdk.Job) { j.Leaf = nil },
		"garbage in the chain":  func(j *sdk.Job) { j.Chain = [][]byte{{1, 2, 3}} },
		"trailing data":         func(j *sdk.Job) { j.Leaf = append(bytes.Clone(j.Leaf), 0) },
		"options not an object": func(j *sdk.Job) { j.Options = []byte(`[]`) },
		"another encoding":      func(j *sdk.Job) { j.Options = []byte(`{"encoding":"xer"}`) },
	} {
		job := sdktest.GoldenJob(t, 1)
		change(&job)
		if bundle, err := render(job); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(bundle))
		}
	}
}

func BenchmarkRender(b *testing.B) {
	job := sdktest.Jobs(b)[0]
	for b.Loop() {
		if _, err := render(job); err != nil {
			b.Fatal(err)
		}
	}
}

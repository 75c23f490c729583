package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func TestRenderIsGolden(t *testing.T) {
	for _, format := range (renderer{}).Formats() {
		job := sdktest.GoldenJob(t, 2)
		job.Format = format.ID
		for _, job.Name = range append(sdktest.HostileNames, job.Name) { // the name is not in the file
			file, err := render(job)
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, format.Filename, file)
		}
	}
}

func TestOpenSSLAndJavaOpenEveryFile(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		t.Run(job.Name, func(t *testing.T) {
			file := func(format string) []byte {
				job.Format = format
				content, err := renderer{}.Render(t.Context(), job)
				if err != nil {
					t.Fatalf("%s: %v", format, err)
				}
				return content
			}
			public := sdktest.Run(t, file("der"), "openssl", "x509", "-inform", "DER", "-noout", "-pubkey", "-in")
			if derived := sdktest.Run(t, file("der-key"), "openssl", "pkey", "-inform", "DER", "-pubout", "-in"); derived != public {
				t.Errorf("key.der is not the key of cert.der:\n%s\n%s", derived, public)
			}
			if printed := sdktest.Run(t, file("der"), "keytool", "-J-Duser.language=en", "-printcert", "-file"); strings.Count(printed, "Serial number:") != 1 {
				t.Errorf("keytool prints\n%s", printed)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	good := sdktest.GoldenJob(t, 0)
	for name, job := range map[string]sdk.Job{
		"unknown format": {Format: "ber", Leaf: good.Leaf},
		"no certificate": {Format: "der"},
		"trailing data":  {Format: "der", Leaf: append(bytes.Clone(good.Leaf), 0)},
		"no key":         {Format: "der-key", Leaf: good.Leaf},
		"another key":    {Format: "der-key", Leaf: good.Leaf, PrivateKey: sdktest.WithAnotherKey(t, good).PrivateKey},
	} {
		if file, err := render(job); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(file))
		}
	}
}

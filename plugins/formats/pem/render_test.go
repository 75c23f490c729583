package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

// golden has text instead of DER: the plugin parses certificates only with a key.
var golden = sdk.Job{
	Leaf:  bytes.Repeat([]byte("leaf"), 20),
	Chain: [][]byte{bytes.Repeat([]byte("one"), 16), []byte("two")},
}

const (
	leafPEM = `-----BEGIN CERTIFICATE-----
bGVhZmxlYWZsZWFmbGVhZmxlYWZsZWFmbGVhZmxlYWZsZWFmbGVhZmxlYWZsZWFm
bGVhZmxlYWZsZWFmbGVhZmxlYWZsZWFmbGVhZmxlYWY=
-----END CERTIFICATE-----
`
	chainPEM = `-----BEGIN CERTIFICATE-----
b25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25lb25l
-----END CERTIFICATE-----
-----BEGIN CERTIFICATE-----
dHdv
-----END CERTIFICATE-----
`
)

func TestRenderIsGolden(t *testing.T) {
	for format, want := range map[string]string{
		"cert": leafPEM, "chain": chainPEM, "fullchain": leafPEM + chainPEM,
	} {
		job := golden
		job.Format = format
		got, err := render(job)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", format, err, got, want)
		}
	}
}

func TestHAProxyIsGolden(t *testing.T) {
	for chain := range 4 {
		job := sdktest.GoldenJob(t, chain)
		job.Format = "haproxy"
		file, err := render(job)
		if err != nil {
			t.Fatal(err)
		}
		sdktest.Golden(t, fmt.Sprintf("haproxy-%d.pem", chain), file)
	}
}

func TestKeyIsGolden(t *testing.T) {
	file, err := render(inFormat("key", sdktest.GoldenJob(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	sdktest.Golden(t, "key.pem", file)
}

func TestEveryDeclaredFormatRenders(t *testing.T) {
	for _, job := range sdktest.JobsFor(t, renderer{}) {
		file, err := renderer{}.Render(t.Context(), job)
		if err != nil || len(file) == 0 {
			t.Errorf("%s of %.40q: %d bytes, %v", job.Format, job.Name, len(file), err)
		}
		if hasKey := strings.Contains(string(file), "PRIVATE KEY"); hasKey != (job.PrivateKey != nil) {
			t.Errorf("%s of %.40q contains the key: %v", job.Format, job.Name, hasKey)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	real := sdktest.GoldenJob(t, 0)
	for name, job := range map[string]sdk.Job{
		"haproxy with another key":         inFormat("haproxy", sdktest.WithAnotherKey(t, real)),
		"haproxy with broken certificates": inFormat("haproxy", golden),
		"key with another key":             inFormat("key", sdktest.WithAnotherKey(t, real)),
		"haproxy without a key":            {Format: "haproxy", Leaf: real.Leaf},
		"unknown format":                   {Format: "pkcs12", Leaf: golden.Leaf},
		"empty leaf":                       {Format: "cert"},
		"no chain":                         {Format: "chain", Leaf: golden.Leaf},
		"hole in chain":                    {Format: "fullchain", Leaf: golden.Leaf, Chain: [][]byte{nil}},
		"no key":                           {Format: "key", Leaf: golden.Leaf},
	} {
		if file, err := render(job); err == nil {
			t.Errorf("%s: rendered %q", name, file)
		}
	}
}

func inFormat(format string, job sdk.Job) sdk.Job {
	job.Format = format
	return job
}

func TestFileDoesNotContainTheName(t *testing.T) {
	for _, format := range (renderer{}).Formats() {
		job := inFormat(format.ID, sdktest.GoldenJob(t, 1))
		want, err := render(job)
		if err != nil {
			t.Fatal(err)
		}
		for _, job.Name = range sdktest.HostileNames {
			if got, err := render(job); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s of %q differs (%v)", format.ID, job.Name, err)
			}
		}
	}
}

func TestOpenSSLOpensEveryFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, sdktest.RootPEM(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, job := range sdktest.Jobs(t) {
		t.Run(job.Name, func(t *testing.T) {
			file := func(format string) []byte {
				job.Format = format
				content, err := render(job)
				if err != nil {
					t.Fatalf("%s: %v", format, err)
				}
				return content
			}
			public := sdktest.Run(t, file("cert"), "openssl", "x509", "-noout", "-pubkey", "-in")
			if derived := sdktest.Run(t, file("key"), "openssl", "pkey", "-pubout", "-in"); derived != public {
				t.Errorf("key.pem is not the key of cert.pem:\n%s\n%s", derived, public)
			}
			full := filepath.Join(t.TempDir(), "fullchain.pem")
			if err := os.WriteFile(full, file("fullchain"), 0o600); err != nil {
				t.Fatal(err)
			}
			sdktest.Run(t, file("cert"), "openssl", "verify", "-CAfile", root, "-untrusted", full)
			if len(job.Chain) > 0 {
				sdktest.Run(t, file("chain"), "openssl", "x509", "-noout", "-subject", "-in")
			}
			one := file("haproxy")
			if first := sdktest.Run(t, one, "openssl", "x509", "-noout", "-pubkey", "-in"); first != public {
				t.Error("haproxy.pem does not start with the leaf")
			}
			if derived := sdktest.Run(t, one, "openssl", "pkey", "-pubout", "-in"); derived != public {
				t.Error("haproxy.pem contains another key")
			}
			together := sdktest.Run(t, one, "openssl", "crl2pkcs7", "-nocrl", "-certfile")
			listed := sdktest.Run(t, []byte(together), "openssl", "pkcs7", "-print_certs", "-noout", "-in")
			if want := 1 + len(job.Chain); strings.Count(listed, "subject=") != want {
				t.Errorf("haproxy.pem does not contain %d certificates:\n%s", want, listed)
			}
		})
	}
}

func BenchmarkRenderFullchain(b *testing.B) {
	job := sdktest.Jobs(b)[0]
	job.Format = "fullchain"
	for b.Loop() {
		if _, err := render(job); err != nil {
			b.Fatal(err)
		}
	}
}

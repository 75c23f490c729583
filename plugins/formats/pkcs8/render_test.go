package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func TestRenderIsGolden(t *testing.T) {
	for _, name := range []string{"www.example.com", "../../etc/passwd", "a\r\nb\x00", strings.Repeat("ü", 70_000)} { // the name is not in the file
		cryptotest.SetGlobalRandom(t, 1)
		job := sdktest.GoldenJob(t, 0)
		job.Name = name
		file, err := render(job)
		if err != nil {
			t.Fatal(err)
		}
		sdktest.Golden(t, "key.enc.pem", file)
	}
}

func TestOpenSSLOpensEveryKeyOnlyWithItsPassphrase(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		t.Run(job.Name, func(t *testing.T) {
			file, err := renderer{}.Render(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(file, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")) || bytes.Contains(file, job.PrivateKey) {
				t.Fatalf("got %.60s", file)
			}
			leaf := sdktest.Run(t, job.Leaf, "openssl", "x509", "-inform", "DER", "-noout", "-pubkey", "-in")
			if public := sdktest.Run(t, file, "openssl", "pkey", "-pubout", "-passin", "pass:"+job.Passphrase, "-in"); public != leaf {
				t.Errorf("the key does not match the certificate:\n%s\n%s", public, leaf)
			}
			shown := sdktest.Run(t, file, "openssl", "asn1parse", "-in")
			for _, want := range []string{":PBES2\n", ":PBKDF2\n", ":hmacWithSHA256\n", ":aes-256-cbc\n", ":0186A0\n"} {
				if !strings.Contains(shown, want) {
					t.Errorf("openssl does not show %q:\n%s", want, shown)
				}
			}
			path := filepath.Join(t.TempDir(), "key.enc.pem")
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if printed, err := exec.Command("openssl", "pkey", "-noout", "-passin", "pass:another-horse-7", "-in", path).CombinedOutput(); err == nil {
				t.Errorf("openssl opens it with another passphrase:\n%s", printed)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(*sdk.Job){
		"no passphrase":  func(j *sdk.Job) { j.Passphrase = "" },
		"another key":    func(j *sdk.Job) { *j = sdktest.WithAnotherKey(t, *j) },
		"no key":         func(j *sdk.Job) { j.PrivateKey = nil },
		"no certificate": func(j *sdk.Job) { j.Leaf = nil },
	} {
		job := sdktest.GoldenJob(t, 0)
		change(&job)
		if file, err := render(job); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(file))
		} else if strings.Contains(err.Error(), sdktest.Passphrase) {
			t.Errorf("%s: the error contains the passphrase: %v", name, err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	job := sdktest.Jobs(b)[0]
	for b.Loop() {
		if _, err := (renderer{}).Render(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}
}

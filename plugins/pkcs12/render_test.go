package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// counting is a source of salts that is the same every time.
type counting byte

func (c *counting) Read(p []byte) (int, error) {
	for i := range p {
		*c++
		p[i] = byte(*c)
	}
	return len(p), nil
}

var _ io.Reader = (*counting)(nil)

// ed25519Job is the job whose bytes never change.
func ed25519Job(t testing.TB) sdk.Job { return sdktest.Jobs(t)[2] }

var profiles = []struct {
	name, options string
	shown         []string // what openssl says of the encryption
}{
	{"modern", `{}`, []string{"MAC: sha256", "PBES2, PBKDF2, AES-256-CBC", "hmacWithSHA256"}},
	{"legacy", `{"legacy":true}`, []string{"MAC: sha1", "pbeWithSHA1And3-KeyTripleDES-CBC"}},
	{"modern", `{"legacy":false}`, nil}, // the same bytes as the first
}

func TestRenderIsGolden(t *testing.T) {
	for _, profile := range profiles {
		job := ed25519Job(t)
		job.Options = []byte(profile.options)
		got, err := render(job, new(counting))
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/" + profile.name + ".pkcs12"
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the bundle of %d bytes differs from %s (%v)", profile.options, len(got), path, err)
		}
	}
}

func TestOpenSSLAndJavaOpenEveryBundle(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		for _, profile := range profiles[:2] {
			t.Run(job.Name+profile.options, func(t *testing.T) {
				job.Options = []byte(profile.options)
				bundle, err := renderer{}.Render(t.Context(), job)
				if err != nil {
					t.Fatal(err)
				}
				openWithOpenSSL(t, bundle, job, profile.shown)
				listed := sdktest.Run(t, bundle, "keytool", "-J-Duser.language=en", "-list", "-storetype", "PKCS12", "-storepass", job.Passphrase, "-keystore")
				if !strings.Contains(listed, "1 entry") || !strings.Contains(listed, "PrivateKeyEntry") {
					t.Errorf("keytool lists\n%s", listed)
				}
			})
		}
	}
}

func openWithOpenSSL(t *testing.T, bundle []byte, job sdk.Job, shown []string) {
	t.Helper()
	open := []string{"pkcs12", "-legacy", "-nodes", "-passin", "pass:" + job.Passphrase}
	printed := sdktest.Run(t, bundle, "openssl", append(open, "-info", "-in")...)
	for _, want := range shown {
		if !strings.Contains(printed, want) {
			t.Errorf("openssl does not show %q:\n%s", want, printed)
		}
	}
	if shown[0] == "MAC: sha256" && strings.Contains(printed, "3-KeyTripleDES") {
		t.Error("the modern bundle has a part in 3DES")
	}
	if got, want := strings.Count(printed, "BEGIN CERTIFICATE"), 1+len(job.Chain); got != want {
		t.Errorf("the bundle holds %d certificates, want %d", got, want)
	}
	certificate := sdktest.Run(t, bundle, "openssl", append(open, "-nokeys", "-clcerts", "-in")...)
	key := sdktest.Run(t, bundle, "openssl", append(open, "-nocerts", "-in")...)
	public := sdktest.Run(t, []byte(certificate), "openssl", "x509", "-noout", "-pubkey", "-in")
	if derived := sdktest.Run(t, []byte(key), "openssl", "pkey", "-pubout", "-in"); derived != public {
		t.Errorf("the bundle's key is not its certificate's:\n%s\n%s", derived, public)
	}
}

func TestRenderRefuses(t *testing.T) {
	good := ed25519Job(t)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	otherDER, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*sdk.Job){
		"no passphrase":          func(j *sdk.Job) { j.Passphrase = "" },
		"another key":            func(j *sdk.Job) { j.PrivateKey = otherDER },
		"no key":                 func(j *sdk.Job) { j.PrivateKey = nil },
		"no certificate":         func(j *sdk.Job) { j.Leaf = nil },
		"garbage in the chain":   func(j *sdk.Job) { j.Chain = [][]byte{{1, 2, 3}} },
		"options not an object":  func(j *sdk.Job) { j.Options = []byte(`[]`) },
		"passphrase not for BMP": func(j *sdk.Job) { j.Passphrase = "\U0001F511" },
	} {
		job := good
		change(&job)
		if bundle, err := render(job, new(counting)); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(bundle))
		} else if strings.Contains(err.Error(), good.Passphrase) {
			t.Errorf("%s: the error tells the passphrase: %v", name, err)
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

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

// variant is one choice of options, with the expected result.
type variant struct {
	golden, options string
	shown           []string // openssl's description of the encryption
	alias           string
}

var (
	shownOfModern = []string{"MAC: sha256", "PBES2, PBKDF2, AES-256-CBC", "hmacWithSHA256"}
	shownOfLegacy = []string{"MAC: sha1", "pbeWithSHA1And3-KeyTripleDES-CBC"}
	longName      = strings.Repeat("long Name ", 12) + "of 128.."
	variants      = []variant{
		{"modern", `{}`, shownOfModern, ""},
		{"legacy", `{"legacy":true}`, shownOfLegacy, ""},
		{"modern-alias", `{"alias":"My web-server"}`, shownOfModern, "My web-server"},
		{"legacy-alias", `{"alias":"My web-server","legacy":true}`, shownOfLegacy, "My web-server"},
		{"modern-long", `{"alias":"` + longName + `"}`, shownOfModern, longName},
		{"legacy-long", `{"alias":"` + longName + `","legacy":true}`, shownOfLegacy, longName},
		{"modern", `{"legacy":false}`, nil, ""}, // the same bytes as the first variant
	}
)

func TestRenderIsGolden(t *testing.T) {
	for _, variant := range variants {
		job := sdktest.GoldenJob(t, 0)
		job.Options = []byte(variant.options)
		for _, job.Name = range sdktest.HostileNames { // the name is not in the file
			got, err := render(job, new(sdktest.Counting))
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, variant.golden+".pkcs12", got)
		}
	}
}

// Java starts slowly, so in the gate it opens two variants of each kind of key:
// together all variants, each with at least two kinds.
func TestOpenSSLAndJavaOpenEveryBundle(t *testing.T) {
	everyPair := os.Getenv("COUNTERSIGN_SOAK") == "1"
	for n, job := range sdktest.Jobs(t) {
		for v, variant := range variants[:4] {
			t.Run(job.Name+variant.options, func(t *testing.T) {
				job.Options = []byte(variant.options)
				bundle, err := renderer{}.Render(t.Context(), job)
				if err != nil {
					t.Fatal(err)
				}
				openWithOpenSSL(t, bundle, job, variant)
				if v != n%4 && v != (n+1)%4 && !everyPair {
					return
				}
				alias := cmp.Or(strings.ToLower(variant.alias), "1") // Java's name for an entry without one
				listed := sdktest.Run(t, bundle, "keytool", "-J-Duser.language=en", "-list", "-v", "-storetype", "PKCS12", "-storepass", job.Passphrase, "-keystore")
				for _, want := range []string{"1 entry", "PrivateKeyEntry", "Alias name: " + alias + "\n", fmt.Sprintf("Certificate chain length: %d\n", 1+len(job.Chain))} {
					if !strings.Contains(listed, want) {
						t.Errorf("keytool does not list %q:\n%s", want, listed)
					}
				}
			})
		}
	}
}

// The library's decoder checks the MAC and that only the names have changed.
func TestAliasChangesNothingElse(t *testing.T) {
	for chain := range 4 {
		for _, variant := range variants[:6] {
			job := sdktest.GoldenJob(t, chain)
			job.Options = []byte(variant.options)
			bundle, err := render(job, new(sdktest.Counting))
			if err != nil {
				t.Fatal(err)
			}
			key, leaf, parents, err := pkcs12.DecodeChain(bundle, job.Passphrase)
			if err != nil {
				t.Fatalf("%s with a chain of %d: %v", variant.options, chain, err)
			}
			if _, err := job.Key(leaf); err != nil || !bytes.Equal(leaf.Raw, job.Leaf) || len(parents) != chain || key == nil {
				t.Errorf("%s with a chain of %d: got %v and %d certificates, %v", variant.options, chain, leaf.Subject, len(parents), err)
			}
			openWithOpenSSL(t, bundle, job, variant)
		}
	}
}

func openWithOpenSSL(t *testing.T, bundle []byte, job sdk.Job, variant variant) {
	t.Helper()
	open := []string{"pkcs12", "-legacy", "-nodes", "-passin", "pass:" + job.Passphrase}
	printed := sdktest.Run(t, bundle, "openssl", append(open, "-info", "-in")...)
	for _, want := range variant.shown {
		if !strings.Contains(printed, want) {
			t.Errorf("openssl does not show %q:\n%s", want, printed)
		}
	}
	if variant.shown[0] == "MAC: sha256" && strings.Contains(printed, "3-KeyTripleDES") {
		t.Error("a part of the modern bundle is encrypted with 3DES")
	}
	if got, want := strings.Count(printed, "BEGIN CERTIFICATE"), 1+len(job.Chain); got != want {
		t.Errorf("the bundle contains %d certificates, want %d", got, want)
	}
	named := 0
	if variant.alias != "" {
		named = 2 // the key and the leaf
	}
	if got := strings.Count(printed, "friendlyName: "); got != named || got != strings.Count(printed, "friendlyName: "+variant.alias+"\n") {
		t.Errorf("openssl shows %d names, want %d times %q:\n%s", got, named, variant.alias, printed)
	}
	if got := strings.Count(printed, "localKeyID: "); got != 2 {
		t.Errorf("openssl shows %d localKeyIDs, want 2:\n%s", got, printed)
	}
	certificate := sdktest.Run(t, bundle, "openssl", append(open, "-nokeys", "-clcerts", "-in")...)
	key := sdktest.Run(t, bundle, "openssl", append(open, "-nocerts", "-in")...)
	public := sdktest.Run(t, []byte(certificate), "openssl", "x509", "-noout", "-pubkey", "-in")
	if derived := sdktest.Run(t, []byte(key), "openssl", "pkey", "-pubout", "-in"); derived != public {
		t.Errorf("the bundle's key does not match its certificate:\n%s\n%s", derived, public)
	}
}

func TestRenderRefuses(t *testing.T) {
	good := sdktest.GoldenJob(t, 0)
	for name, change := range map[string]func(*sdk.Job){
		"no passphrase":         func(j *sdk.Job) { j.Passphrase = "" },
		"another key":           func(j *sdk.Job) { *j = sdktest.WithAnotherKey(t, *j) },
		"no key":                func(j *sdk.Job) { j.PrivateKey = nil },
		"no certificate":        func(j *sdk.Job) { j.Leaf = nil },
		"garbage in the chain":  func(j *sdk.Job) { j.Chain = [][]byte{{1, 2, 3}} },
		"options not an object": func(j *sdk.Job) { j.Options = []byte(`[]`) },
		"passphrase not in BMP": func(j *sdk.Job) { j.Passphrase = "\U0001F511" },
	} {
		job := good
		change(&job)
		if bundle, err := render(job, new(sdktest.Counting)); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(bundle))
		} else if strings.Contains(err.Error(), good.Passphrase) {
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

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

func TestRenderIsGolden(t *testing.T) {
	for _, format := range (renderer{}).Formats() {
		for chain := range 4 {
			job := sdktest.GoldenJob(t, chain)
			job.Format = format.ID
			file, err := render(job, new(sdktest.Counting))
			if err != nil {
				t.Fatal(err)
			}
			sdktest.Golden(t, fmt.Sprintf("%s-%d.jks", format.ID, chain), file)
		}
	}
}

// list returns Java's listing of a keystore, in the style -v or -rfc.
func list(t *testing.T, store []byte, passphrase, style string) string {
	t.Helper()
	return sdktest.Run(t, store, "keytool", "-J-Duser.language=en", "-J-Duser.timezone=UTC", "-list", style, "-storetype", "JKS", "-storepass", passphrase, "-keystore")
}

func TestJavaOpensEveryKeystore(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		t.Run(job.Name, func(t *testing.T) {
			job.Format, job.Options = "jks", []byte(`{"alias":"My Web-Server"}`)
			store, err := renderer{}.Render(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			listed := list(t, store, job.Passphrase, "-v")
			for _, want := range []string{
				"Your keystore contains 1 entry", "Alias name: my web-server\n", "Creation date: Jan 1, 2026", "Entry type: PrivateKeyEntry",
				fmt.Sprintf("Certificate chain length: %d\n", 1+len(job.Chain)), "Owner: CN=" + job.Name + ".example.test\n",
			} {
				if !strings.Contains(listed, want) {
					t.Errorf("keytool does not list %q:\n%s", want, listed)
				}
			}
			certificate, key := convert(t, store, job.Passphrase)
			public := sdktest.Run(t, certificate, "openssl", "x509", "-noout", "-pubkey", "-in")
			if derived := sdktest.Run(t, key, "openssl", "pkey", "-pubout", "-in"); derived != public {
				t.Errorf("the keystore's key does not match its certificate:\n%s\n%s", derived, public)
			}
		})
	}
}

// convert converts the keystore to PKCS#12 with Java, and reads that with openssl.
func convert(t *testing.T, store []byte, passphrase string) (certificate, key []byte) {
	t.Helper()
	converted := filepath.Join(t.TempDir(), "converted.p12")
	sdktest.Run(t, store, "keytool", "-importkeystore", "-noprompt", "-srcstoretype", "JKS", "-srcstorepass", passphrase,
		"-deststoretype", "PKCS12", "-deststorepass", passphrase, "-destkeystore", converted, "-srckeystore")
	bundle, err := os.ReadFile(converted)
	if err != nil {
		t.Fatal(err)
	}
	open := []string{"pkcs12", "-nodes", "-passin", "pass:" + passphrase}
	certificate = []byte(sdktest.Run(t, bundle, "openssl", append(open, "-nokeys", "-clcerts", "-in")...))
	return certificate, []byte(sdktest.Run(t, bundle, "openssl", append(open, "-nocerts", "-in")...))
}

func TestJavaOpensEveryTruststore(t *testing.T) {
	for chain, aliases := range [][]string{{"ca"}, {"ca"}, {"ca", "ca-2"}, {"ca", "ca-2", "ca-3"}} {
		job := sdktest.GoldenJob(t, chain)
		job.Format, job.Options, job.PrivateKey = "jks-truststore", []byte(`{"alias":"ca"}`), nil
		store, err := renderer{}.Render(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		listed := list(t, store, job.Passphrase, "-rfc")
		if strings.Count(listed, "Entry type: trustedCertEntry") != len(aliases) || strings.Contains(listed, "PrivateKeyEntry") {
			t.Errorf("chain of %d: keytool lists\n%s", chain, listed)
		}
		for _, alias := range aliases {
			if !strings.Contains(listed, "Alias name: "+alias+"\n") {
				t.Errorf("chain of %d: keytool does not list %s:\n%s", chain, alias, listed)
			}
		}
		if trusts := bytes.Contains(store, job.Leaf); trusts != (chain == 0) {
			t.Errorf("chain of %d: the truststore contains the certificate itself: %v", chain, trusts)
		}
	}
}

// The alias is the safe form of the certificate's name.
func TestHostileNamesBecomeSafeAliases(t *testing.T) {
	for _, name := range sdktest.HostileNames {
		job := sdktest.GoldenJob(t, 0)
		job.Format, job.Name = "jks", name
		store, err := render(job, new(sdktest.Counting))
		if err != nil || !bytes.Contains(store, []byte(job.SafeName())) {
			t.Errorf("%.40q: %d bytes, %v", name, len(store), err)
		}
	}
	job := sdktest.GoldenJob(t, 0)
	job.Format, job.Name = "jks", strings.Repeat("ü", 300)+"\r\n\x00/../日本語.example"
	store, err := render(job, new(sdktest.Counting))
	if err != nil {
		t.Fatal(err)
	}
	if listed := list(t, store, job.Passphrase, "-v"); !strings.Contains(listed, "Alias name: example\n") {
		t.Errorf("keytool lists\n%s", listed)
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(*sdk.Job){
		"no passphrase":         func(j *sdk.Job) { j.Passphrase = "" },
		"passphrase not ASCII":  func(j *sdk.Job) { j.Passphrase = "pässphrase" },
		"another key":           func(j *sdk.Job) { *j = sdktest.WithAnotherKey(t, *j) },
		"no key":                func(j *sdk.Job) { j.PrivateKey = nil },
		"no certificate":        func(j *sdk.Job) { j.Leaf = nil },
		"garbage in the chain":  func(j *sdk.Job) { j.Chain = [][]byte{{1, 2, 3}} },
		"options not an object": func(j *sdk.Job) { j.Options = []byte(`[]`) },
		"unknown format":        func(j *sdk.Job) { j.Format = "bks" },
	} {
		job := sdktest.GoldenJob(t, 1)
		job.Format = "jks"
		change(&job)
		if store, err := render(job, new(sdktest.Counting)); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(store))
		} else if strings.Contains(err.Error(), sdktest.Passphrase) || strings.Contains(err.Error(), "phrase\"") {
			t.Errorf("%s: the error contains the passphrase: %v", name, err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	job := sdktest.Jobs(b)[0]
	job.Format = "jks"
	for b.Loop() {
		if _, err := (renderer{}).Render(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}
}

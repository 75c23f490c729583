package sdk_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"regexp"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func TestSafeName(t *testing.T) {
	long := strings.Repeat("a", 251)
	for name, want := range map[string]string{
		"www.example.com":    "www.example.com",
		"*.Example.COM":      "example.com",
		"My Cert (prod) #2":  "my-cert-prod-2",
		"../../etc/passwd":   "etc-passwd",
		`C:\keys\a`:          "c-keys-a",
		"a\r\nSet-Cookie: b": "a-set-cookie-b",
		"nul\x00byte":        "nul-byte",
		"bücher.example":     "b-cher.example",
		"a_b":                "a-b",
		"-a-.-b-":            "a.b",
		"..a..b..":           "a.b",
		"":                   "certificate",
		"日本語":                "certificate",
		"$(reboot)":          "reboot",
		"\xff\xfe":           "certificate",
		long + ".bcd":        long + ".b",
		long + "a.b":         long + "a",
		"a\u202egnp.exe":     "a-gnp.exe",
		"--- # yaml: {a: b}": "yaml-a-b",
	} {
		if got := (sdk.Job{Name: name}).SafeName(); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func FuzzSafeName(f *testing.F) {
	for _, name := range sdktest.HostileNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		safe := (sdk.Job{Name: name}).SafeName()
		if len(safe) > 253 || !subdomain.MatchString(safe) {
			t.Errorf("%q became %q", name, safe)
		}
		if again := (sdk.Job{Name: safe}).SafeName(); again != safe {
			t.Errorf("%q became %q", safe, again)
		}
	})
}

func TestJobIsParsed(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		leaf, chain, err := job.Certificates()
		if err != nil || len(chain) != len(job.Chain) {
			t.Fatalf("%s: %d of %d certificates in the chain, %v", job.Name, len(chain), len(job.Chain), err)
		}
		if _, err := job.Key(leaf); err != nil {
			t.Errorf("%s: %v", job.Name, err)
		}
		if _, err := sdktest.WithAnotherKey(t, job).Key(leaf); err == nil || err.Error() != "the private key does not match the certificate" {
			t.Errorf("%s with another key: %v", job.Name, err)
		}
	}
}

func TestBrokenJobIsRefused(t *testing.T) {
	good := sdktest.Jobs(t)[0]
	leaf, _, err := good.Certificates()
	if err != nil {
		t.Fatal(err)
	}
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keyAgreementKey, err := x509.MarshalPKCS8PrivateKey(agreement)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{"no key": nil, "garbage": []byte("CANARY"), "a key that cannot sign": keyAgreementKey} {
		job := good
		job.PrivateKey = der
		if key, err := job.Key(leaf); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: got %T, %v", name, key, err)
		}
	}
	for name, job := range map[string]sdk.Job{"no leaf": {}, "garbage in the chain": {Leaf: good.Leaf, Chain: [][]byte{{1, 2, 3}}}} {
		if leaf, _, err := job.Certificates(); err == nil {
			t.Errorf("%s: got %v", name, leaf)
		}
	}
}

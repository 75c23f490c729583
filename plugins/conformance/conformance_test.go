package conformance

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/plugintest"
	"github.com/countersign-dev/countersign/plugins/sandbox"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/pluginv1"
)

// plugins is the folder with the binaries.
var plugins string

func TestMain(m *testing.M) {
	var err error
	if plugins, err = plugintest.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// as is a plugin's binary under another name.
func as(t *testing.T, binary, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(filepath.Join(plugins, binary), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// try runs the checks on a plugin of this project.
func try(t *testing.T, o Options) Report {
	t.Helper()
	o.Sandbox = sandbox.ModeBestEffort
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// failed lists, by format, the checks that failed.
func failed(r Report) map[string][]string {
	found := map[string][]string{}
	for _, result := range r.Results {
		if result.Outcome == Fail {
			found[result.Format] = append(found[result.Format], result.Check)
		}
	}
	return found
}

func expect(t *testing.T, r Report, want map[string][]string) {
	t.Helper()
	if got := failed(r); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("failed: %v\nwant:   %v\n%s", got, want, printed(r))
	}
	if r.Passed != (len(want) == 0) {
		t.Errorf("passed: %v", r.Passed)
	}
}

func printed(r Report) string {
	var text strings.Builder
	for _, result := range r.Results {
		fmt.Fprintf(&text, "%-18s %-18s %s  %s\n", result.Check, result.Format, result.Outcome, result.Detail)
	}
	return text.String()
}

func TestBuiltInPluginsPass(t *testing.T) {
	text, err := os.ReadFile("../catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	var catalogue struct {
		Plugins []struct {
			Path    string
			Formats []string
		}
	}
	if err := json.Unmarshal(text, &catalogue); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range catalogue.Plugins {
		t.Run(plugin.Path, func(t *testing.T) {
			r := try(t, Options{Binary: filepath.Join(plugins, plugin.Path), Key: true, Passphrase: true, Deadline: time.Minute})
			expect(t, r, map[string][]string{})
			for _, format := range plugin.Formats {
				for _, check := range []string{"render", "parse", "names", "extremes", "cancellation", "concurrency", "secrets in file"} {
					if !slices.ContainsFunc(r.Results, func(r Result) bool { return r.Format == format && r.Check == check && r.Outcome == Pass }) {
						t.Errorf("%s did not pass %s:\n%s", format, check, printed(r))
					}
				}
			}
		})
	}
}

func TestEachRuleIsChecked(t *testing.T) {
	r := try(t, Options{Binary: filepath.Join(plugins, "careless"), Key: true, Passphrase: true, Deadline: time.Minute})
	expect(t, r, map[string][]string{
		"fussy": {"render"}, "sloppy": {"parse"}, "stranger": {"parse", "repeat"}, "chainless": {"no chain"}, "moody": {"repeat"},
		"optional": {"options"}, "verbatim": {"names"}, "gullible": {"key match"}, "brittle": {"extremes"},
		"sulky": {"cancellation"}, "tangled": {"concurrency"}, "recalls": {"secrets in file"}, "bare": {"secrets in file"},
		"loop-a": {"render"}, "loop-b": {"render"}, "": {"secrets in output"},
	})
}

func TestMisbehavingFormatsAreFound(t *testing.T) {
	render := []string{"render"}
	r := try(t, Options{Binary: as(t, "misbehave", "bad"), Key: true, Passphrase: true, Deadline: 3 * time.Second})
	expect(t, r, map[string][]string{
		"exit": render, "hang": render, "patient": render, "huge": render, "empty": render, "refuse": render,
		"panic": render, "burst": render, "babble": render, "": {"secrets in output"},
	})
	for _, format := range []string{"giant", "allocate", "flood"} {
		r := try(t, Options{Binary: filepath.Join(plugins, "hostile"), Format: format, Deadline: 3 * time.Second})
		expect(t, r, map[string][]string{format: render})
	}
}

func TestPluginsThatDoNotStartOrAreMisdeclared(t *testing.T) {
	for name, check := range map[string]string{
		"exits": "start", "strays": "start", "dialsout": "start", "dies": "start", "deaf": "start",
		"path": "description", "nested": "description",
	} {
		r := try(t, Options{Binary: as(t, "misbehave", name)})
		if got := failed(r); !slices.Equal(got[""], []string{check}) || r.Passed {
			t.Errorf("%s: failed %v", name, got)
		}
	}
	if r := try(t, Options{Binary: "conformance_test.go"}); failed(r)[""][0] != "start" {
		t.Errorf("a text file: %s", printed(r))
	}
}

// The report names the binary that passed, even if another one replaces it meanwhile.
func TestExchangedBinaryIsFound(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "plugin")
	for _, name := range []string{"der", "pem"} {
		if err := errors.Join(os.Symlink(filepath.Join(plugins, name), binary+"-next"), os.Rename(binary+"-next", binary)); err != nil {
			t.Fatal(err)
		}
		s := &suite{Options: Options{Binary: binary, Sandbox: sandbox.ModeBestEffort}}
		var err error
		if s.report.SHA256, err = catalogue.Checksum(filepath.Join(plugins, "der")); err != nil {
			t.Fatal(err)
		}
		if err := s.start(t.Context()); (err == nil) != (name == "der") {
			t.Errorf("%s in the place of der: %v", name, err)
		}
		s.stop()
	}
}

func TestFormatsWithoutGrantsAreSkipped(t *testing.T) {
	r := try(t, Options{Binary: filepath.Join(plugins, "der")})
	expect(t, r, map[string][]string{})
	if !slices.ContainsFunc(r.Results, func(r Result) bool { return r.Format == "der-key" && r.Check == "render" && r.Outcome == Skip }) {
		t.Error(printed(r))
	}
}

func TestNothingToTry(t *testing.T) {
	for name, o := range map[string]Options{
		"no file": {Binary: "missing"}, "no such format": {Binary: filepath.Join(plugins, "der"), Format: "ber"},
	} {
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: %s", name, printed(r))
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ended, Options{Binary: filepath.Join(plugins, "der")}); err == nil {
		t.Errorf("after the end: %s", printed(r))
	}
}

// A key is found in every encoding that files and output can use.
func TestSecretsAreFoundInEveryEncoding(t *testing.T) {
	jobs, err := makeJobs()
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		var s secrets
		s.add(string(j.PrivateKey), "the private key", keyParts(j.PrivateKey))
		text := "x" + strings.ReplaceAll(string(substituteOf(keyFormat, j)), "\n", `\n`)
		for _, text := range []string{string(j.PrivateKey), fmt.Sprintf("%x", j.PrivateKey), fmt.Sprintf("%X", j.PrivateKey), text, strings.ReplaceAll(text, `\n`, "\r\n  ")} {
			if s.findIn([]byte(text), nil) == nil {
				t.Errorf("%s: not found in %q", describeJob(j), text)
			}
			if err := s.findIn([]byte(text), j.PrivateKey); err != nil {
				t.Errorf("%s: an own key is found: %v", describeJob(j), err)
			}
		}
		if err := s.findIn(append(j.Leaf, substituteOf("fullchain", j)...), nil); err != nil {
			t.Errorf("%s: found in certificates: %v", describeJob(j), err)
		}
	}
}

// A compressed archive does not show the bytes of a key, so it must be unpacked.
func TestSecretsAreFoundInArchives(t *testing.T) {
	jobs, err := makeJobs()
	if err != nil {
		t.Fatal(err)
	}
	j := jobs[0]
	var file bytes.Buffer
	archive := zip.NewWriter(&file)
	entry, err := archive.Create("key.pem")
	if err == nil {
		_, err = entry.Write(substituteOf(keyFormat, j))
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	for _, other := range jobs {
		own := bytes.Equal(other.PrivateKey, j.PrivateKey)
		if err := open(&pluginv1.Format{Filename: "all.zip"}, file.Bytes(), other); (err == nil) != own {
			t.Errorf("an archive with the key of %s as a file for %s: %v", describeJob(j), describeJob(other), err)
		}
	}
	for holds, want := range map[bool]bool{false: true, true: false} {
		tried := &formatCheck{suite: &suite{}, holds: holds}
		tried.suite.secret.add(string(j.PrivateKey), "the private key", keyParts(j.PrivateKey))
		if err := tried.leaks(file.Bytes(), j); (err != nil) != want {
			t.Errorf("a format that contains the private key (%v): %v", holds, err)
		}
	}
}

// A key of another certificate is found in each PEM encoding of keys.
func TestKeysOfOthersAreFoundInPEM(t *testing.T) {
	jobs, err := makeJobs()
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]int{}
	for _, other := range jobs {
		key, err := x509.ParsePKCS8PrivateKey(other.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		blocks := []*pem.Block{{Type: "PRIVATE KEY", Bytes: other.PrivateKey}}
		switch key := key.(type) {
		case *rsa.PrivateKey:
			blocks = append(blocks, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
		case *ecdsa.PrivateKey:
			der, err := x509.MarshalECPrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, &pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		}
		for _, block := range blocks {
			written[block.Type]++
			for _, j := range []sdk.Job{other, jobs[0], jobs[len(jobs)-1]} {
				own := bytes.Equal(j.PrivateKey, other.PrivateKey)
				if err := open(&pluginv1.Format{Filename: "key.pem"}, pem.EncodeToMemory(block), j); (err == nil) != own {
					t.Errorf("%s of %s in a file for %s: %v", block.Type, describeJob(other), describeJob(j), err)
				}
			}
		}
	}
	if len(written) != 3 {
		t.Errorf("tried only %v", written)
	}
}

func substituteOf(id string, j sdk.Job) []byte {
	_, file := substitute(id, j)
	return file
}

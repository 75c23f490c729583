package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func TestRenderIsGolden(t *testing.T) {
	for chain := range 4 {
		job := sdktest.GoldenJob(t, chain)
		if chain == 1 {
			job.Options = []byte(`{"secret_name":"shop-tls","namespace":"shop"}`)
		}
		file, err := render(job)
		if err != nil {
			t.Fatal(err)
		}
		sdktest.Golden(t, fmt.Sprintf("tls-secret-%d.yaml", chain), file)
	}
}

// object is the manifest as Kubernetes reads it.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind, Type string
	Metadata   map[string]any
	Data       map[string][]byte
}

var pythonReadsYAML = sync.OnceValue(func() bool { return exec.Command("python3", "-c", "import yaml").Run() == nil })

// parse reads the manifests as one stream of documents, with PyYAML if it is
// installed, else with Go.
func parse(t *testing.T, manifests ...[]byte) (objects []object) {
	t.Helper()
	stream := bytes.Join(manifests, []byte("---\n"))
	var text []byte
	if pythonReadsYAML() {
		const convert = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)"
		text = []byte(sdktest.Run(t, stream, "python3", "-c", convert))
	} else {
		text = goReadsYAML(t, stream)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&objects); err != nil || len(objects) != len(manifests) {
		t.Fatalf("%d manifests are %d objects: %v\n%s", len(manifests), len(objects), err, stream)
	}
	for _, o := range objects {
		if o.APIVersion != "v1" || o.Kind != "Secret" || o.Type != "kubernetes.io/tls" || len(o.Data) != 2 {
			t.Fatalf("got %+v", o)
		}
	}
	return objects
}

// goReadsYAML converts a stream of documents to a JSON array.
func goReadsYAML(t *testing.T, stream []byte) []byte {
	t.Helper()
	var documents []map[string]any
	for decoder := yaml.NewDecoder(bytes.NewReader(stream)); ; {
		var document map[string]any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document)
	}
	text, err := json.Marshal(documents)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestManifestContainsChainAndKey(t *testing.T) {
	for _, job := range sdktest.Jobs(t) {
		t.Run(job.Name, func(t *testing.T) {
			job.Options = []byte(`{"namespace":"shop"}`)
			file, err := renderer{}.Render(t.Context(), job)
			if err != nil {
				t.Fatal(err)
			}
			o := parse(t, file)[0]
			if o.Metadata["name"] != job.Name || o.Metadata["namespace"] != "shop" || len(o.Metadata) != 2 {
				t.Errorf("got metadata %v", o.Metadata)
			}
			public := sdktest.Run(t, o.Data["tls.crt"], "openssl", "x509", "-noout", "-pubkey", "-in")
			if derived := sdktest.Run(t, o.Data["tls.key"], "openssl", "pkey", "-pubout", "-in"); derived != public {
				t.Errorf("tls.key is not the key of tls.crt:\n%s\n%s", derived, public)
			}
			found := sdktest.Run(t, o.Data["tls.crt"], "openssl", "storeutl", "-noout", "-certs")
			if want := fmt.Sprintf("Total found: %d", 1+len(job.Chain)); !strings.Contains(found, want) {
				t.Errorf("openssl finds\n%s\nwant %s", found, want)
			}
		})
	}
}

var subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func TestHostileNamesBecomeSafeNames(t *testing.T) {
	var manifests [][]byte
	for _, name := range sdktest.HostileNames {
		job := sdktest.GoldenJob(t, 0)
		job.Name = name
		file, err := render(job)
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, file)
	}
	for i, o := range parse(t, manifests...) {
		name := sdktest.HostileNames[i]
		// A name that looks like a number, a date or a boolean must stay a string.
		got, ok := o.Metadata["name"].(string)
		if !ok || got != (sdk.Job{Name: name}).SafeName() || !subdomain.MatchString(got) || len(o.Metadata) != 1 {
			t.Errorf("%.40q: got metadata %v", name, o.Metadata)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, change := range map[string]func(*sdk.Job){
		"another key":           func(j *sdk.Job) { *j = sdktest.WithAnotherKey(t, *j) },
		"no key":                func(j *sdk.Job) { j.PrivateKey = nil },
		"no certificate":        func(j *sdk.Job) { j.Leaf = nil },
		"garbage in the chain":  func(j *sdk.Job) { j.Chain = [][]byte{{1, 2, 3}} },
		"options not an object": func(j *sdk.Job) { j.Options = []byte(`[]`) },
	} {
		job := sdktest.GoldenJob(t, 1)
		change(&job)
		if file, err := render(job); err == nil {
			t.Errorf("%s: rendered %d bytes", name, len(file))
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

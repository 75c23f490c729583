// Command provenance writes how the files of a release were made: a statement of in-toto
// (Statement v1) with a provenance of SLSA (v1). It is not signed itself: SHA256SUMS names
// it, and `make release` signs that if it has a key.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

const repository = "https://github.com/countersign-dev/countersign"

type digest map[string]string

type resource struct {
	Name   string `json:"name,omitempty"`
	URI    string `json:"uri,omitempty"`
	Digest digest `json:"digest,omitempty"`
}

// statement is https://in-toto.io/Statement/v1 with https://slsa.dev/provenance/v1.
type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     predicate  `json:"predicate"`
}

type predicate struct {
	BuildDefinition struct {
		BuildType            string            `json:"buildType"`
		ExternalParameters   map[string]string `json:"externalParameters"`
		ResolvedDependencies []resource        `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version"`
		} `json:"builder"`
	} `json:"runDetails"`
}

func main() {
	builder := flag.String("builder", "", "URI of who builds, which says how far its builds can be trusted")
	commit := flag.String("commit", "", "commit that is built")
	version := flag.String("version", "", "version that is built")
	arch := flag.String("arch", "", "architecture that is built")
	flag.Parse()
	if err := write(os.Stdout, *builder, *commit, *version, *arch, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "provenance:", err)
		os.Exit(1)
	}
}

func write(to io.Writer, builder, commit, version, arch string, files []string) error {
	if builder == "" || commit == "" || len(files) == 0 {
		return errors.New("give -builder, -commit and the files")
	}
	s := statement{Type: "https://in-toto.io/Statement/v1", PredicateType: "https://slsa.dev/provenance/v1"}
	for _, file := range files {
		sum, err := sum(file)
		if err != nil {
			return err
		}
		s.Subject = append(s.Subject, resource{Name: filepath.Base(file), Digest: digest{"sha256": sum}})
	}
	d := &s.Predicate.BuildDefinition
	d.BuildType = repository + "/blob/main/deploy/dist.mk"
	d.ExternalParameters = map[string]string{"target": "release", "repository": repository, "version": version, "arch": arch}
	d.ResolvedDependencies = []resource{{URI: "git+" + repository + "@" + commit, Digest: digest{"gitCommit": commit}}}
	s.Predicate.RunDetails.Builder.ID = builder
	s.Predicate.RunDetails.Builder.Version = map[string]string{"go": runtime.Version()}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(s)
}

func sum(file string) (string, error) {
	f, err := os.Open(file) //nolint:gosec // the caller names the file
	if err != nil {
		return "", err
	}
	defer f.Close() //nolint:errcheck // it is only read
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

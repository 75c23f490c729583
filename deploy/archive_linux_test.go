package deploy

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	provenancev1 "github.com/in-toto/attestation/go/predicates/provenance/v1"
	statementv1 "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// The archive has what an installation needs; its programs need no library of the system,
// and its files can be written by root alone.
func TestTheArchive(t *testing.T) {
	archive, folder := artifact(t, "ARCHIVE"), t.TempDir()
	run(t, exec.CommandContext(t.Context(), "tar", "-xzf", archive, "-C", folder, "--strip-components=1"))
	for _, file := range []string{
		"LICENSE", "INSTALL.md", "README.md", "CLUSTER.md", "countersign.service", "countersign.yaml", "plugins/catalogue.json",
		"completion/countersign.bash", "completion/countersign.zsh", "completion/countersign.fish", "man/countersign.1.gz", "man/countersign-serve.1.gz",
	} {
		if info, err := os.Stat(filepath.Join(folder, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	programs, err := filepath.Glob(filepath.Join(folder, "plugins", "*"))
	noError(t, err)
	for _, program := range append(programs, filepath.Join(folder, "countersign")) {
		if filepath.Ext(program) == ".json" {
			continue
		}
		file, err := elf.Open(program)
		noError(t, err)
		for _, part := range file.Progs {
			if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is not linked statically", filepath.Base(program))
			}
		}
		_ = file.Close()
	}
	for line := range strings.Lines(run(t, exec.CommandContext(t.Context(), "tar", "--numeric-owner", "-tvzf", archive))) {
		if fields := strings.Fields(line); fields[1] != "0/0" || strings.ContainsAny(fields[0][4:], "w") && fields[0][0] != 'l' {
			t.Errorf("others than root can write %s", line)
		}
	}
}

// loads asks the installed program whether it knows the settings of a file.
func loads(t *testing.T, file string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(artifact(t, "STAGE"), "countersign"), "bootstrap", "--config", file, "--bootstrap", file+".missing")
	out, _ := cmd.CombinedOutput()
	if !strings.Contains(string(out), "no such file") { // it fails later than at the settings
		t.Errorf("the settings are refused: %s", out)
	}
}

// Two builds of one commit in different folders, by users with different masks, zones and
// languages, give the same bytes.
func TestBuildsAreReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds everything twice")
	}
	var sums []string
	for _, environment := range [][]string{
		{"TZ=Asia/Kolkata", "LC_ALL=C", "UMASK=022"},
		{"TZ=UTC", "LC_ALL=C.UTF-8", "UMASK=002"},
	} {
		clone := filepath.Join(t.TempDir(), "clone")
		run(t, exec.CommandContext(t.Context(), "git", "clone", "-q", "..", clone))
		packages, err := filepath.Abs("../api/web/node_modules")
		noError(t, err)
		run(t, exec.CommandContext(t.Context(), "cp", "-a", packages, filepath.Join(clone, "api/web/node_modules")))
		run(t, exec.CommandContext(t.Context(), "touch", filepath.Join(clone, "api/web/node_modules/.package-lock.json")))
		build := exec.CommandContext(t.Context(), "bash", "-ec", "umask $UMASK; make dist deb image; cd dist; sha256sum *.tar.gz *.deb *.oci.tar > SUMS")
		build.Dir, build.Env = clone, append(os.Environ(), environment...)
		run(t, build)
		text, err := os.ReadFile(filepath.Join(clone, "dist/SUMS"))
		noError(t, err)
		sums = append(sums, string(text))
		noError(t, os.RemoveAll(clone))
	}
	if sums[0] != sums[1] || strings.Count(sums[0], "\n") != 3 {
		t.Errorf("the builds differ:\n%s\n%s", sums[0], sums[1])
	}
}

// The statement of a build is one of in-toto with a provenance of SLSA, and names the
// files by what they have.
func TestTheProvenance(t *testing.T) {
	file := filepath.Join(t.TempDir(), "countersign.deb")
	noError(t, os.WriteFile(file, []byte("a package"), 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "run", "./provenance", "-builder", "https://example.com/builder", "-commit", strings.Repeat("a", 40), "-version", "v1", "-arch", "amd64", file)
	text := run(t, cmd)
	var statement statementv1.Statement
	noError(t, protojson.Unmarshal([]byte(text), &statement))
	noError(t, statement.Validate())
	var predicate provenancev1.Provenance
	inner, err := json.Marshal(statement.GetPredicate().AsMap())
	noError(t, err)
	noError(t, protojson.Unmarshal(inner, &predicate))
	noError(t, predicate.Validate())
	want := strings.Fields(run(t, exec.CommandContext(t.Context(), "sha256sum", file)))[0]
	if s := statement.GetSubject(); len(s) != 1 || s[0].GetName() != "countersign.deb" || s[0].GetDigest()["sha256"] != want {
		t.Errorf("its subjects are %v, want %s", s, want)
	}
}

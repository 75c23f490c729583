package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

// needs3DES are the targets that cannot read a bundle that is encrypted with AES.
var needs3DES = []string{"windows-server-2016", "macos-14", "macos-15", "java-8-before-u301"}

// Every import command whose tool is installed is run on a file for its target.
func checkImportCommandsImport(t *testing.T, h *Host) {
	ran := map[string]bool{}
	for _, f := range h.Formats() {
		if len(f.Targets) == 0 && isBuiltIn(t, f) {
			t.Errorf("%s has no target", f.ID)
		}
		for _, target := range f.Targets {
			t.Run(f.ID+" "+target.ID, func(t *testing.T) {
				j := job(t, rsaJob, f.ID)
				j.Options = target.Options
				file := render(t, h, j)
				if f.ID == "pkcs12" {
					info := sdktest.Run(t, file, "openssl", "pkcs12", "-info", "-noout", "-passin", "pass:"+sdktest.Passphrase, "-in")
					if older := strings.Contains(info, "3-KeyTripleDES"); older != slices.Contains(needs3DES, target.ID) {
						t.Errorf("it is encrypted with 3DES: %v", older)
					}
				}
				tool, _, _ := strings.Cut(target.ImportCommand, " ")
				if tool == "openssl" || tool == "keytool" {
					ran[tool] = true
					runImport(t, h, target.ImportCommand, f.Filename, file)
				}
			})
		}
	}
	if !ran["openssl"] || !ran["keytool"] {
		t.Errorf("ran only %v", ran)
	}
}

// runImport runs the command as a user would, who types the passphrase at each prompt
// and trusts the certificate.
func runImport(t *testing.T, h *Host, command, name string, file []byte) {
	t.Helper()
	folder := t.TempDir()
	write := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(name, file)
	typed := []string{sdktest.Passphrase, sdktest.Passphrase, sdktest.Passphrase}
	switch {
	case strings.Contains(command, "-keystore keystore.p12"): // the keystore that has the key of the request
		j := job(t, rsaJob, "pkcs12")
		j.Options = `{"alias":"shop"}`
		write("keystore.p12", render(t, h, j))
		typed = []string{sdktest.Passphrase, "yes"}
	case strings.Contains(command, "-importcert"):
		typed[2] = "yes"
	}
	line := strings.NewReplacer("{file}", name, "{alias}", "shop").Replace(command)
	importing := exec.CommandContext(t.Context(), "sh", "-c", line)
	importing.Dir = folder
	importing.Stdin = strings.NewReader(strings.Join(typed, "\n") + "\n")
	importing.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // without a terminal, the program reads answers from standard input
	printed, err := importing.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, printed)
	}
	made, err := os.ReadDir(folder)
	if err != nil || len(made) != 2 {
		t.Errorf("%s left %v (%v)", line, made, err)
	}
}

func TestTargets(t *testing.T) {
	h, _ := open(t, Options{}, misbehaving("twofold", nil, "twofold"), misbehaving("aiming", nil, "aims", "aims-high", "aims-wide", "aims-through"))
	const command = "take {file} {alias}"
	for id, want := range map[string][]engine.FormatTarget{
		"aims":         {{ID: "with-0", Title: "Something", Options: `{}`, ImportCommand: command}, {ID: "with-1", Title: "Something", Options: `{"a":9}`, ImportCommand: command}},
		"aims-through": {{ID: "with-1", Title: "Something", Options: `{"a":9}`, ImportCommand: command}},
	} {
		if f, ok := h.Format(id); !ok || !slices.Equal(f.Targets, want) {
			t.Errorf("%s: got %+v", id, f.Targets)
		}
	}
	s := state(t, h, "aiming")
	for _, detail := range []string{"format aims-high is not available: its target with-1: ", "options.a: maximum", "format aims-wide is not available: its target with-1: "} {
		if !strings.Contains(s.Detail, detail) {
			t.Errorf("%q does not say %q", s.Detail, detail)
		}
	}
	if s := state(t, h, "twofold"); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, "two targets a") {
		t.Errorf("got %+v", s)
	}
}

package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// What `countersign dev` prints can be pasted into a shell and downloads a
// certificate; so can the README's two commands.
func TestThePrintedCommandsDownload(t *testing.T) {
	s := start(t, binary(t, "-tags=failpoint"), t.TempDir()+"/data")
	printed, err := os.ReadFile(s.log.Name())
	noError(t, err)
	_, script, found := strings.Cut(string(printed), "Paste this into another shell to download a certificate:\n")
	if !found {
		t.Fatalf("nothing to paste is printed:\n%s", printed)
	}
	script, _, _ = strings.Cut(script, "-o cert.pem")
	s.paste(script + "-o cert.pem")

	readme, err := os.ReadFile("../../README.md")
	noError(t, err)
	_, mint, _ := strings.Cut(string(readme), "\n\nFrom the command line:\n\n```sh\n")
	mint, fetch, _ := strings.Cut(mint, "curl http")
	fetch, _, _ = strings.Cut(fetch, "\n```")
	mint = strings.NewReplacer("<api-key>", s.boot.APIKeys["operator"], "http://127.0.0.1:8080", s.url).Replace(strings.TrimSpace(mint))
	fetch = strings.ReplaceAll("curl http"+fetch, "http://127.0.0.1:8080", s.url)
	s.paste("PID=" + s.boot.ProjectID + " CID=" + s.boot.Certificates[0].ID + "\n" +
		`TOKEN=$(` + mint + ` | sed 's/.*"token":"\([^"]*\)".*/\1/')` + "\n" + fetch)
}

// paste runs commands in a shell in an empty folder; they must leave cert.pem.
func (s *server) paste(script string) {
	s.t.Helper()
	shell := exec.CommandContext(s.t.Context(), "bash", "-e")
	shell.Dir, shell.Stdin = s.t.TempDir(), strings.NewReader(script)
	out, err := shell.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	o := opened{s.t, shell.Dir, shell.Dir + "/cert.pem"}
	if subject := o.openssl("x509", "-noout", "-subject"); !strings.Contains(subject, "www.example.com") {
		s.t.Errorf("downloaded %s", subject)
	}
}

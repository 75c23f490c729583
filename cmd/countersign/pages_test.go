package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// notRun names the blocks of commands that TestPages does not run by their page
// and first words, with the reason.
var notRun = map[string]string{
	"README.md: make run":             "the server that make run starts is started for every page, and make test runs this test",
	"deploy/README.md: age-keygen":    "tests of the backup run these commands; age-keygen is another program",
	"deploy/INSTALL.md: sha256sum":    "it verifies a release, which deploy's tests do",
	"deploy/INSTALL.md: openssl":      "it verifies a release, which deploy's tests do",
	"deploy/INSTALL.md: sudo tar":     "it installs a service on the machine",
	"deploy/INSTALL.md: sudo editor":  "it installs a service on the machine",
	"deploy/INSTALL.md: (umask":       "it needs an installed service; deploy/README.md has the same commands",
	"deploy/INSTALL.md: sudo apt":     "deploy's tests install the package into a copy of the system",
	"deploy/INSTALL.md: docker load":  "it needs a container engine",
	"deploy/INSTALL.md: helm install": "it needs a cluster",
	"deploy/INSTALL.md: kubectl":      "it needs a cluster",
	"deploy/INSTALL.md: cd deploy":    "it needs a container engine",
	"deploy/INSTALL.md: git checkout": "it builds everything twice, which deploy's tests do",
}

// results check what the commands of a page print and leave in the reader's folder.
var results = map[string]func(t *testing.T, folder, printed string){
	"README.md": func(t *testing.T, folder, _ string) { isSampleCertificate(t, folder) },
	"cmd/countersign/README.md": func(t *testing.T, folder, printed string) {
		run(t, nil, "openssl", "pkey", "-noout", "-in", filepath.Join(folder, "key.pem"))
		if !strings.Contains(printed, "\nChain    intact\n") {
			t.Errorf("the audit log is not verified:\n%s", printed)
		}
	},
	"deploy/README.md": func(t *testing.T, _, printed string) {
		if !strings.Contains(printed, "\ncountersign_plugin_state{") {
			t.Errorf("no metrics are shown:\n%s", printed)
		}
	},
	"plugins/README.md": func(t *testing.T, folder, printed string) {
		made, err := os.ReadFile(filepath.Join(folder, "tlsa", "tlsa.txt"))
		noError(t, err)
		if record := regexp.MustCompile(`^_25\._tcp\.www\.example\.com\. IN TLSA 3 1 1 [0-9a-f]{64}\n`); !record.Match(made) {
			t.Errorf("downloaded %q", made)
		}
		if !strings.HasSuffix(printed, string(made)) || !strings.Contains(printed, "\ntlsa ") {
			t.Errorf("the format is not listed, or its file not shown:\n%s", printed)
		}
	},
}

var shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)```")

// TestPages runs the commands of every page of the repository as a reader does:
// all blocks in order, in one shell that starts in an empty folder, beside a
// running server.
func TestPages(t *testing.T) {
	found := map[string]bool{}
	noError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && slices.Contains([]string{"node_modules", "bin", ".git"}, entry.Name()) {
			return filepath.SkipDir
		}
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		text, err := os.ReadFile(path)
		page := strings.TrimPrefix(path, "../../")
		var blocks []string
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			name := ""
			for known := range notRun {
				if strings.HasPrefix(page+": "+block[1], known) {
					name, found[known] = known, true
				}
			}
			if name == "" {
				blocks = append(blocks, block[1])
			}
		}
		if len(blocks) > 0 {
			t.Run(page, func(t *testing.T) { runPage(t, page, blocks) })
		}
		return err
	}))
	for name := range notRun {
		if !found[name] {
			t.Errorf("no page has the block %q", name)
		}
	}
	for page := range results {
		if _, err := os.Stat("../../" + page); err != nil {
			t.Errorf("the page is missing: %v", err)
		}
	}
}

// runPage runs the blocks of a page beside the server that its first block
// starts, else beside the one that `make run` starts.
func runPage(t *testing.T, page string, blocks []string) {
	program, home := installed(t), t.TempDir()
	command, bootstrap := []string{"countersign", "dev"}, filepath.Join(home, ".local/state/countersign/bootstrap.json")
	if first := strings.Fields(blocks[0]); slices.Contains([]string{"dev", "serve"}, first[1]) && first[0] == "countersign" {
		command, blocks, bootstrap = first, blocks[1:], filepath.Join(home, "bootstrap.json")
	}
	serve := exec.Command(program, append(command[1:], "--listen", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0")...)
	serve.Dir, serve.Env = home, append(os.Environ(), "HOME="+home, "XDG_STATE_HOME=")
	s := serveOn(t, serve, bootstrap)

	script := strings.NewReplacer("http://127.0.0.1:8080", s.url, "http://127.0.0.1:8081", s.operators()).Replace(strings.Join(blocks, "\n"))
	variables := []string{
		"HOME=" + home, "PATH=" + filepath.Dir(program) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"PID=" + s.boot.ProjectID, "KEY=" + s.boot.APIKeys["operator"], "GOFLAGS=", "GOWORK=off",
	}
	if len(s.boot.Certificates) > 0 {
		variables = append(variables, "CID="+s.boot.Certificates[0].ID)
	}
	for _, cache := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} { // by default they are in the home folder
		variables = append(variables, cache+"="+strings.TrimSpace(run(t, nil, "go", "env", cache)))
	}
	printed := shell(t, home, script, variables...)
	s.failIfEnded()
	if check := results[page]; check != nil {
		check(t, home, printed)
	}
}

// shell runs a script in a folder and returns what it printed.
func shell(t *testing.T, folder, script string, variables ...string) string {
	t.Helper()
	bash := exec.CommandContext(t.Context(), "bash", "-e")
	bash.Dir, bash.Stdin, bash.Env = folder, strings.NewReader(script), append(os.Environ(), variables...)
	printed, err := bash.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, printed)
	}
	return string(printed)
}

// isSampleCertificate checks the cert.pem that commands left in a folder.
func isSampleCertificate(t *testing.T, folder string) {
	t.Helper()
	if subject := (opened{t, folder, filepath.Join(folder, "cert.pem")}).openssl("x509", "-noout", "-subject"); !strings.Contains(subject, "www.example.com") {
		t.Errorf("downloaded %s", subject)
	}
}

// The commands that `countersign dev` prints can be pasted into a shell, and download
// a certificate.
func TestThePrintedCommandsDownload(t *testing.T) {
	s := commonServer(t)
	printed, err := os.ReadFile(s.log.Name())
	noError(t, err)
	_, script, found := strings.Cut(string(printed), "Paste this into another shell to download a certificate:\n")
	if !found {
		t.Fatalf("nothing to paste is printed:\n%s", printed)
	}
	script, _, _ = strings.Cut(script, "-o cert.pem")
	folder := t.TempDir()
	shell(t, folder, script+"-o cert.pem")
	isSampleCertificate(t, folder)
}

// installed is the program as a build leaves it, its plugins beside it, in a
// folder of its own.
func installed(t *testing.T) string {
	t.Helper()
	built := binary(t)
	program := filepath.Join(t.TempDir(), "countersign")
	if os.Link(built, program) != nil { // the folder may be in another file system
		run(t, nil, "cp", built, program)
	}
	plugins := filepath.Join(filepath.Dir(program), "plugins")
	noError(t, os.Mkdir(plugins, 0o700))
	ownPlugins(t, built, plugins)
	return program
}

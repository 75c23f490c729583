package mongotest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const ferretModule = "github.com/FerretDB/FerretDB"

// rootName and rootPassword are the user that a server makes of itself.
const rootName, rootPassword = "root", "password of root"

// securedChanges are the changes to FerretDB's embedded server: it checks users by SCRAM, as
// MongoDB does. FerretDB's program has a flag for that, but cannot be built as a
// dependency.
var securedChanges = strings.NewReplacer(
	"TestOpts: registry.TestOpts{", fmt.Sprintf(`SetupDatabase: "admin", SetupUsername: %q, SetupPassword: password.WrapPassword(%q), SetupTimeout: 30e9,
		TestOpts: registry.TestOpts{ EnableNewAuth: true,`, rootName, rootPassword),
	`import (`, `import (
	"github.com/FerretDB/FerretDB/internal/util/password"`,
)

// buildSecured builds the server into an empty folder, and returns the program's path.
func buildSecured(dir string) (program string, err error) {
	module, err := goTool("list", "-m", "-f", "{{.Dir}}", ferretModule)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, "module")
	if err := os.CopyFS(changed, os.DirFS(module)); err != nil {
		return "", err
	}
	source := filepath.Join(changed, "ferretdb", "ferretdb.go")
	text, err := os.ReadFile(source) //nolint:gosec // the test's own copy
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(source, []byte(securedChanges.Replace(string(text))), 0o600); err != nil { //nolint:gosec // the test's own copy
		return "", err
	}
	own, err := goTool("env", "GOMOD")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(own), name)) //nolint:gosec // of this repository
		if err != nil {
			return "", err
		}
		if name == "go.mod" {
			text = fmt.Appendf(text, "\nreplace %s => %s\n", ferretModule, changed)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil { //nolint:gosec // into the test's own folder
			return "", err
		}
	}
	program = filepath.Join(dir, "ferretdb")
	_, err = goTool("build", "-modfile", filepath.Join(dir, "go.mod"), "-o", program,
		"github.com/countersign-dev/countersign/engine/store/mongo/mongotest/testdata/ferretdb")
	return program, err
}

func goTool(args ...string) (string, error) {
	out, err := exec.Command("go", args...).Output() //nolint:gosec,noctx // the arguments are above
	if err != nil {
		failed, _ := errors.AsType[*exec.ExitError](err)
		if failed != nil {
			err = fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return "", fmt.Errorf("go %s: %w", args[0], err)
	}
	return string(bytes.TrimSpace(out)), nil
}

package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/host"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/policies"
)

// The renderers and the rules are the real ones, shared by all tests: they keep
// no state between renders.
var (
	renderers *host.Host
	rules     engine.Policy
	built     string // the folder of the plugins and their catalogue
	template  string // the folder of the store that fixtures begin with
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	// The folder and the flags are those of the Makefile, so that go build links only
	// what `make build` has not linked already.
	dir, err := filepath.Abs("../bin/plugins")
	if err != nil {
		return 1, err
	}
	built = dir
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/", "../plugins/formats/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build plugins: %w\n%s", err, out)
	}
	if err := catalogue.Write("../plugins/catalogue.json", dir); err != nil {
		return 1, err
	}
	quiet := slog.New(slog.DiscardHandler)
	if renderers, err = host.Open(context.Background(), host.Options{Catalogue: filepath.Join(dir, catalogue.FileName), Logger: quiet}); err != nil {
		return 1, err
	}
	defer func() {
		if closed := renderers.Close(); err == nil {
			err = closed
		}
	}()
	for _, p := range renderers.Plugins() {
		for range 5 { // a busy machine may need more time than a plugin has to start
			if p.State != runtime.StateDisabled {
				break
			}
			if err := renderers.Reload(p.Name); err == nil {
				break
			}
		}
	}
	if rules, err = policies.New(context.Background()); err != nil {
		return 1, err
	}
	template, err = os.MkdirTemp("", "countersign-api-test")
	if err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(template) }() // what is left is in the system's temporary folder
	return m.Run(), nil
}

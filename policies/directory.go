package policies

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/countersign-dev/countersign/engine"
)

// The limits of a directory, far above what a team writes by hand. Sizes are in bytes.
const (
	maxFiles     = 256
	maxFileSize  = 256 << 10
	maxTotalSize = 4 << 20
)

const (
	ruleSuffix = ".rego"
	testSuffix = "_test.rego"
)

var (
	errChanging = errors.New("its files keep changing while they are read; try again")
	errNoRules  = errors.New("it holds no rules; put files *.rego directly into it that are not named *_test.rego")
)

// readDirectory reads the rule files of a directory, by name. It reads until two
// reads in a row are equal, so it never mixes old and new files that are replaced
// at once, as Kubernetes replaces a ConfigMap. A directory without rules is an
// error, because an unmounted volume must not remove a team's rules.
func readDirectory(dir string) (map[string]string, error) {
	before, err := readOnce(dir)
	for range 3 {
		after, again := readOnce(dir)
		if err == nil && again == nil && maps.Equal(before, after) {
			return after, requireRules(dir, after)
		}
		if err != nil && again != nil {
			return nil, again
		}
		before, err = after, again
	}
	return nil, fmt.Errorf("read policy directory %s: %w", dir, errChanging)
}

func requireRules(dir string, files map[string]string) error {
	for name := range files {
		if !strings.HasSuffix(name, testSuffix) {
			return nil
		}
	}
	return fmt.Errorf("read policy directory %s: %w", dir, errNoRules)
}

// checkAccess refuses a directory whose rules others than their owner can change.
func checkAccess(dir string, files map[string]string) error {
	trusted := []string{dir}
	for name := range files {
		trusted = append(trusted, filepath.Join(dir, name))
	}
	return engine.CheckTrustedFiles(trusted...)
}

// readOnce follows symbolic links. It skips hidden entries, such as the ..data of a
// ConfigMap, and files that are not *.rego. A folder is an error, because its rules
// would be ignored silently.
func readOnce(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read policy directory: %w", err)
	}
	files, total := map[string]string{}, 0
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		info, err := os.Stat(path)
		switch isRule := strings.HasSuffix(entry.Name(), ruleSuffix); {
		case err == nil && info.IsDir():
			return nil, fmt.Errorf("read policy directory: %s is a folder; move its rules directly into the directory", path)
		case !isRule:
			continue
		case err != nil:
			return nil, fmt.Errorf("read policy directory: %w", err)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("read policy directory: %s is not a regular file", path)
		}
		text, err := readRule(path)
		if err != nil {
			return nil, err
		}
		files[entry.Name()] = text
		if total += len(text); total > maxTotalSize || len(files) > maxFiles {
			return nil, fmt.Errorf("read policy directory: %s holds more than %d files or %d KiB of rules; remove some", dir, maxFiles, maxTotalSize>>10)
		}
	}
	return files, nil
}

func readRule(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return "", fmt.Errorf("read policy directory: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("read policy directory: %w", err)
	}
	if len(text) > maxFileSize {
		return "", fmt.Errorf("read policy directory: %s is larger than %d KiB; split it", path, maxFileSize>>10)
	}
	return string(text), nil
}

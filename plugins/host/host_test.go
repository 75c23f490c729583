package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/plugintest"
	"github.com/countersign-dev/countersign/plugins/sdk"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(orphanVariable); folder != "" {
		hostUntilKilled(folder)
	}
	syscall.Umask(0o022) // others may not write catalogues
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// soak makes tests repeat their steps many more times (make soak).
var soak = os.Getenv("COUNTERSIGN_SOAK") == "1"

// readyVariable is an environment variable with a folder of built plugins.
const readyVariable = "COUNTERSIGN_TEST_PLUGINS"

// binaries returns the folder with the plugins' binaries.
func binaries(t testing.TB) string {
	t.Helper()
	if ready := os.Getenv(readyVariable); ready != "" {
		return ready
	}
	folder, err := plugintest.Build()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// builtIn returns the built-in catalogue entries with the names, or all. Each plugin
// takes time to start, so a test should name only those that it needs.
func builtIn(t testing.TB, names ...string) []catalogue.Entry {
	t.Helper()
	c, err := catalogue.Read("../catalogue.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		return c.Plugins
	}
	return slices.DeleteFunc(c.Plugins, func(e catalogue.Entry) bool { return !slices.Contains(names, e.Name) })
}

// archive returns the plugins that the format zip needs.
func archive(t testing.TB) []catalogue.Entry { return builtIn(t, "pem", "pkcs12", "zip") }

// misbehaving returns an entry of the test plugin with a name, grants and formats.
func misbehaving(name string, keys []string, formats ...string) catalogue.Entry {
	return catalogue.Entry{Name: name, Path: "misbehave", Formats: formats, Grants: catalogue.Grants{Key: keys, Passphrase: keys}}
}

// bad returns the entry of the plugin whose formats each have one fault.
func bad() catalogue.Entry {
	secret := []string{"panic", "burst", "babble"}
	return misbehaving("bad", secret, append(secret, "pid", "echo", "exit", "hang", "patient", "slow", "huge", "empty", "refuse")...)
}

// folder creates a folder with the plugins and a catalogue of the entries.
func folder(t testing.TB, entries ...catalogue.Entry) (catalogueFile string) {
	t.Helper()
	dir := t.TempDir()
	link(t, binaries(t), dir)
	rewrite(t, filepath.Join(dir, catalogue.FileName), entries...)
	return filepath.Join(dir, catalogue.FileName)
}

// link puts links to all files of a folder into another.
func link(t testing.TB, from, to string) {
	t.Helper()
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := os.Symlink(filepath.Join(from, file.Name()), filepath.Join(to, file.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// rewrite writes a catalogue of the entries, with checksums.
func rewrite(t testing.TB, path string, entries ...catalogue.Entry) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "source.json")
	writeJSON(t, source, catalogue.Catalogue{Plugins: entries})
	if err := catalogue.Write(source, filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
}

func writeJSON(t testing.TB, path string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func debugTo(log *logged) *slog.Logger {
	return slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// logged collects what the host logs, from debug level on.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// open starts a host with the entries. When the test ends, it closes the host and
// checks that no process or file is left.
func open(t testing.TB, o Options, entries ...catalogue.Entry) (*Host, *logged) {
	t.Helper()
	log := &logged{}
	o.Logger = debugTo(log)
	if o.Catalogue == "" {
		o.Catalogue = folder(t, entries...)
	}
	if o.SocketDir == "" {
		dir, err := os.MkdirTemp("", "cs") // the path of a socket must be short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(dir) })
		o.SocketDir = dir
	}
	h, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if left := children(t, os.Getpid()); len(left) > 0 {
			t.Errorf("processes left: %v", left)
		}
		if left, err := filepath.Glob(filepath.Join(o.SocketDir, "*")); err != nil || len(left) > 0 {
			t.Errorf("files left: %v (%v)", left, err)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
	return h, log
}

// children returns the plugins among the children of a process.
func children(t testing.TB, parent int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err != nil {
			continue // the process has ended meanwhile
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		commandLine, err := os.ReadFile(filepath.Join(filepath.Dir(stat), "cmdline"))
		if err != nil || fields[1] != strconv.Itoa(parent) || !bytes.HasPrefix(commandLine, []byte("countersign-plugin-")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, pid)
	}
	return found
}

// eventually waits until the condition is true.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); !holds(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("this did not happen: %s", what)
		}
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// state finds a plugin's state.
func state(t testing.TB, h *Host, name string) engine.PluginState {
	t.Helper()
	for _, s := range h.Plugins() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no plugin %s", name)
	return engine.PluginState{}
}

var (
	jobsOnce sync.Once
	jobs     []sdk.Job
)

// job returns a job of sdktest in the form that the engine uses.
func job(t testing.TB, kind int, format string) engine.RenderJob {
	t.Helper()
	jobsOnce.Do(func() { jobs = sdktest.Jobs(t) })
	j := jobs[kind]
	return engine.RenderJob{
		Format: format, Name: j.Name, Leaf: j.Leaf, Chain: j.Chain,
		PrivateKey: j.PrivateKey, Passphrase: engine.Secret(j.Passphrase), Options: "{}",
	}
}

// The kinds of jobs.
const (
	rsaJob = iota
	ecdsaJob
	ed25519Job
)

func render(t testing.TB, h *Host, j engine.RenderJob) []byte {
	t.Helper()
	file, err := h.Render(t.Context(), j)
	if err != nil {
		t.Fatalf("render %s: %v", j.Format, err)
	}
	return file
}

// pid returns the process id of the plugin bad, or of the plugin with the format.
func pid(t testing.TB, h *Host, format ...string) int {
	t.Helper()
	n, err := strconv.Atoi(string(render(t, h, job(t, ed25519Job, append(format, "pid")[0]))))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

func TestRendersAfterAKilledPluginSucceed(t *testing.T) {
	h, _ := open(t, Options{}, bad())
	seen := map[int]bool{}
	for range 6 { // without the renders between them, five failures would quarantine it
		now := pid(t, h)
		if seen[now] {
			t.Fatalf("process %d is back", now)
		}
		seen[now] = true
		if err := syscall.Kill(now, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if s := state(t, h, "bad"); s.State == runtime.StateQuarantined {
		t.Errorf("got %+v", s)
	}
}

func TestRunningRendersSurviveAKilledPlugin(t *testing.T) {
	h, _ := open(t, Options{}, archive(t)...)
	var renders sync.WaitGroup
	failed := make(chan error, 64)
	for i := range cap(failed) {
		renders.Go(func() {
			_, err := h.Render(t.Context(), job(t, rsaJob, []string{"fullchain", "zip"}[i%2]))
			failed <- err
		})
	}
	for _, plugin := range children(t, os.Getpid()) {
		if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	renders.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestPluginThatKeepsFailingIsQuarantined(t *testing.T) {
	h, _ := open(t, Options{}, append(builtIn(t, "pem"), bad())...)
	for range 3 { // each ends the process twice
		wantFailure(t, h, job(t, rsaJob, "exit"), "exit.out could not be made: its plugin")
	}
	eventually(t, "the plugin is quarantined", func() bool { return state(t, h, "bad").State == runtime.StateQuarantined })
	wantFailure(t, h, job(t, rsaJob, "pid"), "its plugin is not running")
	if s := state(t, h, "bad"); !strings.Contains(s.Detail, "failed 5 times in a row") {
		t.Errorf("got %+v", s)
	}
	if f, ok := h.Format("pid"); !ok || f.Plugin.State != runtime.StateQuarantined {
		t.Errorf("got %+v", f)
	}
	render(t, h, job(t, rsaJob, "fullchain"))
	if err := h.Reload("bad"); err != nil {
		t.Fatal(err)
	}
	pid(t, h)
}

func TestPluginsThatCannotStart(t *testing.T) {
	gone := misbehaving("gone", nil, "pid")
	path := folder(t, append(builtIn(t, "pem"), misbehaving("exits", nil), misbehaving("strays", nil),
		misbehaving("dialsout", nil), misbehaving("dies", nil), misbehaving("deaf", nil), misbehaving("future", nil),
		misbehaving("blurts", nil), misbehaving("gossips", nil), misbehaving("clash", nil, "other"), misbehaving("unlisted", nil, "known"))...)
	c, err := catalogue.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	gone.Path, gone.SHA256 = "nowhere", strings.Repeat("0", 64)
	outside := gone
	outside.Name, outside.Path = "outside", "../bad"
	unhashed := misbehaving("unhashed", nil, "pid")
	irregular := gone
	irregular.Name, irregular.Path = "irregular", "."
	c.Plugins = append(c.Plugins, gone, outside, unhashed, irregular)
	writeJSON(t, path, c)

	h, log := open(t, Options{Catalogue: path})
	for name, detail := range map[string]string{
		"exits":  "it did not start as plugins do (exit status 3)",
		"blurts": "it did not start as plugins do", "gossips": "it did not say what it renders", "irregular": "it is not a regular file",
		"strays": "outside its socket folder", "dialsout": "outside its socket folder", "dies": "it did not", "deaf": "it did not start as plugins do",
		"future":   "it speaks protocol 2; this host speaks [1]",
		"clash":    "its format other claims the name cert.pem, which plugin pem has",
		"unlisted": "the format surprise, which the catalogue does not list",
		"gone":     "no such file", "outside": "leads out of the catalogue's folder", "unhashed": "not 64 hexadecimal digits",
	} {
		if s := state(t, h, name); s.State != runtime.StateDisabled || !strings.Contains(s.Detail, detail) {
			t.Errorf("%s: %+v, want a detail with %q", name, s, detail)
		} else if strings.Contains(s.Detail, "CANARY") || strings.Contains(s.Detail, "/") {
			t.Errorf("%s has the detail %q, which must not be public", name, s.Detail)
		}
	}
	for _, text := range []string{"CANARY: your host", "CANARY: nobody asked me"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log does not contain %q", text)
		}
	}
	if strings.Contains(log.String(), "\\u001b") {
		t.Error("a plugin put an escape sequence into the log")
	}
	render(t, h, job(t, rsaJob, "cert")) // other plugins still render
}

// A plugin that never answers delays the start of the host only until the timeout.
func TestMutePluginIsDisabled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	h, err := Open(ctx, Options{Catalogue: folder(t, misbehaving("mute", nil)), Logger: debugTo(&logged{})})
	if err != nil {
		t.Fatal(err)
	}
	if s := state(t, h, "mute"); s.State != runtime.StateDisabled || s.Detail != "it did not start in time" {
		t.Errorf("got %+v", s)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestReloadStartsANewVersion(t *testing.T) {
	path := folder(t, archive(t)...)
	h, _ := open(t, Options{Catalogue: path, Deadline: 2 * time.Second})
	before := children(t, os.Getpid())
	old := state(t, h, "pem")

	binary := filepath.Join(filepath.Dir(path), "pem")
	newVersion(t, binary)
	for _, plugin := range before {
		if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	render(t, h, job(t, rsaJob, "cert")) // restarted from the verified binary, not from the one on the disk now
	if got := state(t, h, "pem"); got.SHA256 != old.SHA256 || got.State != runtime.StateRunning {
		t.Errorf("the file on disk changed what runs: %+v", got)
	}
	before = children(t, os.Getpid())
	if err := h.Reload("pem"); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a binary that the catalogue does not list: %v", err)
	}
	if s := state(t, h, "pem"); s.State != runtime.StateRunning || !strings.Contains(s.Detail, "reload failed, the previous version stays in use: its checksum") {
		t.Errorf("got %+v", s)
	}
	render(t, h, job(t, rsaJob, "cert"))

	rewrite(t, path, append(archive(t), bad())...)
	if err := h.Reload("pem"); err != nil {
		t.Fatal(err)
	}
	if s := state(t, h, "pem"); s.State != runtime.StateRunning || s.SHA256 == old.SHA256 || s.Detail != "" {
		t.Errorf("got %+v", s)
	}
	render(t, h, job(t, rsaJob, "zip"))
	eventually(t, "the old process ends", func() bool {
		return slices.ContainsFunc(before, gone)
	})

	if err := h.Reload("bad"); err != nil { // the catalogue lists it now
		t.Fatal(err)
	}
	pid(t, h)
	rewrite(t, path, archive(t)...)
	if err := h.Reload("bad"); err != nil { // the catalogue no longer lists it
		t.Fatal(err)
	}
	if _, ok := h.Format("pid"); ok || len(h.Plugins()) != len(archive(t)) {
		t.Errorf("a plugin that is not listed is still there: %+v", h.Plugins())
	}
	if err := h.Reload("bad"); !errors.Is(err, engine.CodeNotFound) {
		t.Errorf("got %v", err)
	}
}

// newVersion puts another binary at path: the same program with a trailer.
func newVersion(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(content, "version 2"...), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestReloadCannotTakeANameOfARunningPlugin(t *testing.T) {
	thief := misbehaving("clash", nil, "other")
	path := folder(t, append([]catalogue.Entry{misbehaving("exits", nil, "pid")}, builtIn(t, "pem")...)...)
	h, _ := open(t, Options{Catalogue: path})
	rewrite(t, path, append([]catalogue.Entry{thief}, builtIn(t, "pem")...)...)
	if err := h.Reload("clash"); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Errorf("got %v", err)
	}
	render(t, h, job(t, rsaJob, "cert"))
}

func TestCloseEndsRendersAndRefusesNewOnes(t *testing.T) {
	h, _ := open(t, Options{}, bad())
	ended := make(chan error)
	go func() {
		_, err := h.Render(context.Background(), job(t, rsaJob, "hang"))
		ended <- err
	}()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, engine.CodeRendererFailed) {
		t.Errorf("got %v", err)
	}
	wantFailure(t, h, job(t, rsaJob, "pid"), "not running")
	if err := h.Reload("bad"); !errors.Is(err, engine.CodeUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := h.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

func TestSocketFolder(t *testing.T) {
	path := folder(t)
	dir := t.TempDir()
	long := filepath.Join(dir, strings.Repeat("x", 100))
	wide := filepath.Join(dir, "wide")
	if err := errors.Join(os.Mkdir(wide, 0o700), os.Chmod(wide, 0o755)); err != nil {
		t.Fatal(err)
	}
	shared, err := os.MkdirTemp("", "cs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	open(t, Options{Catalogue: path, SocketDir: shared})
	for folder, want := range map[string]string{
		long: "could not be opened", wide: "mode 0700, not 0755", shared: "in use by another host",
	} {
		if _, err := Open(t.Context(), Options{Catalogue: path, SocketDir: folder}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", folder, err, want)
		}
	}
}

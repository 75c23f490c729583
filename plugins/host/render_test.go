package host

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/runtime"
	"github.com/countersign-dev/countersign/plugins/sdk/sdktest"
)

func checkBuiltInFormatsRender(t *testing.T, h *Host) {
	for kind, name := range []string{"rsa", "ecdsa", "ed25519"} {
		for _, f := range h.Formats() {
			if !isBuiltIn(t, f) {
				continue
			}
			t.Run(name+"/"+f.ID, func(t *testing.T) {
				j := job(t, kind, f.ID)
				if f.NeedsChain && len(j.Chain) == 0 {
					wantFailure(t, h, j, "no chain")
					return
				}
				if file := render(t, h, j); bytes.Contains(file, []byte("PRIVATE KEY")) && !f.ContainsKey {
					t.Errorf("%s contains the private key, but does not declare it", f.ID)
				}
			})
		}
	}
}

func checkZipContainsTheOtherPluginsFiles(t *testing.T, h *Host) {
	for kind, want := range map[int]string{
		ecdsaJob:   "bundle.pkcs12 cert.pem chain.pem fullchain.pem key.pem",
		ed25519Job: "bundle.pkcs12 cert.pem fullchain.pem key.pem", // it has no chain
	} {
		j := job(t, kind, "zip")
		j.Options = `{"legacy":true}`
		file := render(t, h, j)
		archive, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, entry := range archive.File {
			names = append(names, entry.Name)
			checkEntry(t, h, j, entry)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("the archive contains %q, want %q", got, want)
		}
	}
}

// checkEntry compares a file in the archive with the same file rendered alone.
func checkEntry(t *testing.T, h *Host, j engine.RenderJob, entry *zip.File) {
	t.Helper()
	reader, err := entry.Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	if entry.Name == "bundle.pkcs12" { // its salts differ in each render
		shown := sdktest.Run(t, content, "openssl", "pkcs12", "-legacy", "-info", "-noout", "-passin", "pass:"+j.Passphrase.Reveal(), "-in")
		if !strings.Contains(shown, "3-KeyTripleDES") {
			t.Errorf("the option did not reach the included bundle:\n%s", shown)
		}
		return
	}
	j.Format, j.Options = entry.Name, "{}"
	if alone := render(t, h, j); !bytes.Equal(alone, content) {
		t.Errorf("%s differs from the file itself", entry.Name)
	}
}

// wantFailure checks that a render fails with the documented code and a detail from
// the host.
func wantFailure(t *testing.T, h *Host, j engine.RenderJob, detail string) error {
	t.Helper()
	file, err := h.Render(t.Context(), j)
	failure, ok := errors.AsType[*engine.Error](err)
	if !ok || failure.Code != engine.CodeRendererFailed || !strings.Contains(failure.Detail, detail) {
		t.Errorf("%s: rendered %d bytes, %v; want a detail with %q", j.Format, len(file), err, detail)
	}
	return err
}

func TestFailedRenders(t *testing.T) {
	h, _ := open(t, Options{Deadline: 2 * time.Second, MaxFile: 1 << 20}, bad())
	for format, detail := range map[string]string{
		"panic": "refused or failed", "refuse": "refused or failed", "empty": "empty file", "huge": "more than 1048576 bytes",
		"patient": "longer than 2s", "unheard-of": "no plugin renders this format",
	} {
		wantFailure(t, h, job(t, rsaJob, format), detail)
	}
	pid(t, h)
	if s := state(t, h, "bad"); s.State != runtime.StateRunning {
		t.Errorf("the plugin is %+v", s)
	}
	j := job(t, rsaJob, "pid")
	j.Options = `{"no":"such"}`
	wantFailure(t, h, j, "no longer accepts these options")
}

func TestCancelledRenderDoesNotEndTheProcess(t *testing.T) {
	h, _ := open(t, Options{}, bad())
	before := pid(t, h)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := h.Render(ctx, job(t, rsaJob, "hang")); err == nil || !strings.Contains(err.Error(), "no longer waits") {
		t.Errorf("got %v", err)
	}
	if after := pid(t, h); after != before {
		t.Error("the process was replaced")
	}
}

// No secret reaches the log or a caller by a panic, a stack trace, an error or output
// of the plugin.
func TestPluginCannotRevealSecrets(t *testing.T) {
	h, log := open(t, Options{Deadline: 5 * time.Second}, bad())
	for _, format := range []string{"panic", "burst", "babble", "refuse"} {
		j := job(t, rsaJob, format)
		j.PrivateKey, j.Passphrase = []byte("CANARY-KEY"), "CANARY-PASSPHRASE"
		err := wantFailure(t, h, j, "")
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", format, err)
		}
	}
	eventually(t, "output is withheld", func() bool { return strings.Contains(log.String(), "plugin wrote output; it is withheld") })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "CANARY") {
		t.Errorf("the log contains secrets:\n%s", log)
	}
}

// An error text of a plugin without secrets is logged, but cannot forge log lines.
func TestPluginErrorsAreSanitised(t *testing.T) {
	h, _ := open(t, Options{}, bad())
	err := wantFailure(t, h, job(t, rsaJob, "refuse"), "refused or failed")
	if text := err.Error(); !strings.Contains(text, "no such thing forged=line") || strings.Contains(text, "\n") || len(text) > 1000 {
		t.Errorf("got %q", text)
	}
	if failure, _ := errors.AsType[*engine.Error](err); strings.Contains(failure.Detail, "forged") {
		t.Errorf("the caller receives %q", failure.Detail)
	}
}

func TestPluginHasAnEmptyEnvironment(t *testing.T) {
	t.Setenv("COUNTERSIGN_SECRET", "in the host's environment")
	h, _ := open(t, Options{}, bad())
	var found struct {
		Env        []string
		Stdin      int
		Dir        string
		Key        []byte
		Passphrase string
		Files      map[string][]byte
	}
	if err := json.Unmarshal(render(t, h, job(t, rsaJob, "echo")), &found); err != nil {
		t.Fatal(err)
	}
	for _, variable := range found.Env {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PLUGIN_") && name != "COUNTERSIGN_PLUGIN" && name != "COUNTERSIGN_PLUGIN_HOST_PID" {
			t.Errorf("the plugin has %s", variable)
		}
	}
	if found.Stdin != 0 || found.Dir != "/" || found.Key != nil || found.Passphrase != "" || len(found.Files) != 0 {
		t.Errorf("the plugin has %+v", found)
	}
}

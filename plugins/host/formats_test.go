package host

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/catalogue"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// One host serves all tests that only look at formats and render: starting all
// plugins takes longer than these tests.
func TestFormats(t *testing.T) {
	h, _ := open(t, Options{}, append(builtIn(t), nested(),
		misbehaving("loop", nil, "loop-a", "loop-b", "lost", "fine"),
		misbehaving("asks", nil, "asks-key", "asks-passphrase", "snoops", "modest"))...)
	for name, check := range map[string]func(*testing.T, *Host){
		"built-in formats": checkBuiltInFormats, "formats that cannot be": checkFormatsThatCannotBe,
		"needs and options are transitive": checkNeedsAndOptionsAreTransitive, "options": checkOptions,
		"every format renders": checkBuiltInFormatsRender, "zip": checkZipContainsTheOtherPluginsFiles,
		"import commands": checkImportCommandsImport,
	} {
		t.Run(name, func(t *testing.T) { check(t, h) })
	}
}

// isBuiltIn reports whether a plugin of the project renders the format.
func isBuiltIn(t *testing.T, f engine.Format) bool {
	t.Helper()
	return len(builtIn(t, f.Plugin.Name)) == 1
}

func checkBuiltInFormats(t *testing.T, h *Host) {
	type row struct {
		file, media            string
		key, passphrase, chain bool
	}
	const pemType = "application/x-pem-file"
	want := map[string]row{
		"cert":      {"cert.pem", pemType, false, false, false},
		"chain":     {"chain.pem", pemType, false, false, true},
		"fullchain": {"fullchain.pem", pemType, false, false, false},
		"key":       {"key.pem", pemType, true, false, false},
		"haproxy":   {"haproxy.pem", pemType, true, false, false},
		"pkcs12":    {"bundle.pkcs12", "application/x-pkcs12", true, true, false},
		"zip":       {"bundle.zip", "application/zip", true, true, false},

		"jks":             {"keystore.jks", "application/x-java-keystore", true, true, false},
		"jks-truststore":  {"truststore.jks", "application/x-java-keystore", false, true, false},
		"p7b":             {"bundle.p7b", "application/x-pkcs7-certificates", false, false, false},
		"der":             {"cert.der", "application/pkix-cert", false, false, false},
		"der-key":         {"key.der", "application/pkcs8", true, false, false},
		"pkcs8-encrypted": {"key.enc.pem", pemType, true, true, false},
		"k8s-secret":      {"tls-secret.yaml", "application/yaml", true, false, false},
	}
	got := map[string]row{}
	for _, f := range h.Formats() {
		if !isBuiltIn(t, f) {
			continue
		}
		got[f.ID] = row{f.Filename, f.MediaType, f.ContainsKey, f.NeedsPassphrase, f.NeedsChain}
		for _, name := range append(f.Aliases, f.ID, f.Filename) {
			if found, ok := h.Format(name); !ok || found.ID != f.ID {
				t.Errorf("%s finds %q", name, found.ID)
			}
		}
		if f.Description == "" || f.TypicalUse == "" || f.Plugin.State != runtime.StateRunning || f.Plugin.Version == "" || len(f.Plugin.SHA256) != 64 {
			t.Errorf("%s is not described: %+v", f.ID, f)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if f, ok := h.Format("word"); ok {
		t.Errorf("found %+v", f)
	}
}

func checkFormatsThatCannotBe(t *testing.T, h *Host) {
	for _, id := range []string{"loop-a", "loop-b", "lost", "asks-key", "asks-passphrase", "snoops"} {
		if f, ok := h.Format(id); ok {
			t.Errorf("%s is available: %+v", id, f)
		}
		wantFailure(t, h, job(t, rsaJob, id), "no plugin renders")
	}
	for _, id := range []string{"fine", "modest"} {
		render(t, h, job(t, rsaJob, id))
	}
	for plugin, details := range map[string][]string{
		"loop": {"format loop-a is not available: it includes loop-b", "cycle (loop-a → loop-b → loop-a)", "format lost is not available: it includes nowhere, which no plugin renders"},
		"asks": {"asks-key is not available: it needs the private key", "asks-passphrase is not available: it needs the passphrase", "snoops is not available: it needs the private key"},
	} {
		s := state(t, h, plugin)
		for _, detail := range details {
			if !strings.Contains(s.Detail, detail) {
				t.Errorf("%s: %q does not say %q", plugin, s.Detail, detail)
			}
		}
		if s.State != runtime.StateRunning || len(s.Formats) != 1 {
			t.Errorf("%s: %+v", plugin, s)
		}
	}
}

// nested has formats that include others and mix their options.
func nested() catalogue.Entry {
	return catalogue.Entry{Name: "nested", Path: "misbehave", Formats: []string{"inner", "outer", "outermost", "rival", "remote"},
		Grants: catalogue.Grants{Key: []string{"inner", "outer", "outermost", "rival"}}}
}

func checkNeedsAndOptionsAreTransitive(t *testing.T, h *Host) {
	outermost, ok := h.Format("outermost")
	if !ok || !outermost.ContainsKey || outermost.NeedsPassphrase || outermost.NeedsChain {
		t.Fatalf("got %+v", outermost)
	}
	checked, err := h.CheckOptions("outermost", map[string]any{"b": "x", "a": 3})
	if err != nil || checked != `{"a":3,"b":"x"}` {
		t.Fatalf("got %s, %v", checked, err)
	}
	type seen struct {
		Key     []byte
		Options json.RawMessage
		Files   map[string][]byte
	}
	for _, kind := range []int{ecdsaJob, ed25519Job} {
		j := job(t, kind, "outermost")
		j.Options = checked
		var top, outer, inner seen
		decode(t, render(t, h, j), &top)
		decode(t, top.Files["outer.out"], &outer)
		decode(t, outer.Files["inner.out"], &inner)
		if string(top.Options) != `{}` || string(outer.Options) != `{"b":"x"}` || string(inner.Options) != `{"a":3}` {
			t.Errorf("options: %s, %s, %s", top.Options, outer.Options, inner.Options)
		}
		if len(inner.Key) == 0 || len(outer.Key)+len(top.Key) > 0 {
			t.Error("a format that does not need the key received it")
		}
		if _, has := outer.Files["chain.pem"]; has != (len(j.Chain) > 0) {
			t.Errorf("chain.pem is in the job: %v, with a chain of %d", has, len(j.Chain))
		}
	}
	detail := state(t, h, "nested").Detail
	for _, want := range []string{`rival is not available: the option "a" means different things`, "remote is not available: its options schema"} {
		if !strings.Contains(detail, want) {
			t.Errorf("%q does not say %q", detail, want)
		}
	}
}

// A project has a format only if it has the format's plugin and all included formats.
func TestProjectsAreTransitive(t *testing.T) {
	entries := append(archive(t), nested(), bad())
	for i := range entries {
		switch entries[i].Name {
		case "nested":
			entries[i].Projects = []string{"a", "b"}
		case "pem": // outer includes chain
			entries[i].Projects = []string{"b", "c"}
		case "zip":
			entries[i].Projects = []string{"a"}
		case "bad":
			entries[i].Projects = []string{}
		}
	}
	h, _ := open(t, Options{}, entries...)
	for id, want := range map[string]string{"inner": "ab", "outer": "b", "outermost": "b", "cert": "bc", "zip": "", "pkcs12": "abc", "pid": ""} {
		f, ok := h.Format(id)
		if !ok {
			t.Errorf("%s is missing", id)
		}
		got := ""
		for _, project := range []string{"a", "b", "c"} {
			if f.EnabledIn(project) {
				got += project
			}
		}
		if got != want {
			t.Errorf("%s is enabled in %q, want %q", id, got, want)
		}
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

func checkOptions(t *testing.T, h *Host) {
	for _, c := range []struct {
		format, options string
		want            string // canonical JSON, or part of the refusal
		ok              bool
	}{
		{"cert", `{}`, `{}`, true},
		{"cert", `null`, `{}`, true},
		{"cert", `{"legacy":true}`, "'legacy'", false},
		{"pkcs12", `{"legacy":true}`, `{"legacy":true}`, true},
		{"bundle.pkcs12", `{"legacy":false}`, `{"legacy":false}`, true},
		{"pkcs12", `{"legacy":"yes"}`, "options.legacy: got string, want boolean", false},
		{"pkcs12", `{"alias":"My web-server 1"}`, `{"alias":"My web-server 1"}`, true},
		{"pkcs12", `{"alias":"a\nb"}`, "options.alias: 'a\\nb' does not match pattern", false},
		{"pkcs12", `{"Alias":"x"}`, "(options of this format: alias, legacy)", false},
		{"zip", `{"alias":"x","legacy":true}`, `{"alias":"x","legacy":true}`, true},
		{"jks", `{"alias":" "}`, "options.alias", false},
		{"jks-truststore", `{"alias":"tomcat"}`, `{"alias":"tomcat"}`, true},
		{"p7b", `{"encoding":"der"}`, `{"encoding":"der"}`, true},
		{"p7b", `{"encoding":"ber"}`, "options.encoding", false},
		{"k8s-secret", `{"namespace":"shop","secret_name":"a.b-c"}`, `{"namespace":"shop","secret_name":"a.b-c"}`, true},
		{"k8s-secret", `{"secret_name":"a\n---"}`, "options.secret_name", false},
		{"k8s-secret", `{"secret_name":"A"}`, "options.secret_name", false},
		{"k8s-secret", `{"namespace":"a.b"}`, "options.namespace", false},
		{"k8s-secret", `{"namespace":""}`, "options.namespace", false},
		{"zip", `{"legacy":true}`, `{"legacy":true}`, true},
		{"zip", `{"Legacy":true}`, "'Legacy'", false},
		{"inner", `{"a":9}`, `{"a":9}`, true},
		{"pkcs12", `{"alias":"` + strings.Repeat("a", 8<<10) + `"}`, "bytes as JSON", false},
		{"inner", `{"a":10}`, "options.a: maximum", false},
		{"inner", `{"a":1.5}`, "want integer", false},
		{"outer", `{"b":"x"}`, "'a'", false},
		{"unheard-of", `{}`, "no format of that name", false},
	} {
		var options map[string]any
		decode(t, []byte(c.options), &options)
		got, err := h.CheckOptions(c.format, options)
		switch {
		case c.ok && (err != nil || got != c.want):
			t.Errorf("%s %s: got %s, %v", c.format, c.options, got, err)
		case !c.ok && (!errors.Is(err, engine.CodeInvalidOptions) || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %s: got %v, want %q", c.format, c.options, err, c.want)
		}
	}
}

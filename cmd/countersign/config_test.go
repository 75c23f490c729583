package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func load(t *testing.T, file string, args ...string) (Config, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addFlags(flags)
	noError(t, flags.Parse(args))
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "config.yaml")
		noError(t, os.WriteFile(path, []byte(file), 0o600))
	}
	return loadConfig(path, flags)
}

func TestEmptyConfigurationIsTheDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	c, err := load(t, "")
	noError(t, err)
	if c.Listen != "127.0.0.1:8080" || c.Retention.Tokens != 720*time.Hour || c.Limits.UnknownTokens != 60 ||
		c.Data != "/state/countersign" || c.Keeper.File != "/state/countersign/keys/local.key" || len(c.TrustedProxies) != 0 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestFlagsOverrideVariablesAndTheFile(t *testing.T) {
	t.Setenv("COUNTERSIGN_LOG_LEVEL", "warn")
	t.Setenv("COUNTERSIGN_LISTEN", "127.0.0.1:2")
	t.Setenv("COUNTERSIGN_TRUSTED_PROXIES", "10.0.0.1,10.1.0.0/16")
	t.Setenv("COUNTERSIGN_API_KEY", "of the client, no setting")
	c, err := load(t, "listen: 127.0.0.1:1\nlog: {level: error, format: json}\nretention: {tokens: 1000h}\n", "--listen", "127.0.0.1:3")
	noError(t, err)
	if c.Listen != "127.0.0.1:3" || c.Log.Level != "warn" || c.Log.Format != "json" || c.Retention.Tokens != 1000*time.Hour ||
		strings.Join(c.TrustedProxies, " ") != "10.0.0.1 10.1.0.0/16" {
		t.Errorf("merged: %+v", c)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	for file, want := range map[string]string{
		"lisen: 127.0.0.1:1":                                                 "lisen",
		"retention: {tokens: 1h}":                                            "retention.tokens",
		"retention: {tokens: soon}":                                          "tokens",
		"retention: {requests: 1h}":                                          "retention.requests",
		"retention: {requests: 720h, events: 1h}":                            "retention.events",
		"retention: {audit: 9999h}":                                          "retention.audit needs",
		"retention: {audit: 9999h, events: 720h}":                            "retention.audit needs",
		"retention: {audit: 1439h, events: 720h, requests: 720h}":            "at least 720h longer",
		"retention: {audit: 1500h, events: 720h, requests: 800h}":            "at least 720h longer",
		"retention: {audit: -1h, events: 720h, requests: 720h}":              "retention.audit",
		"limits: {unknown_tokens: 0}":                                        "limits.unknown_tokens",
		"limits: {connections: 0}":                                           "limits.connections",
		"sandbox: {mode: strict}":                                            "sandbox.mode",
		"drain: -1s":                                                         "drain",
		"mongodb: {username_file: u}":                                        "mongodb.password_file",
		"tls: {cert_file: c}":                                                "tls.key_file",
		"tls: {key_file: k}":                                                 "tls.cert_file",
		"tls: {client_ca_file: c}":                                           "tls.client_ca_file",
		"tls: {redirect_listen: ':80'}":                                      "tls.redirect_listen",
		"tls: {cert_file: c, key_file: k, redirect_listen: ':80'}":           "public_url",
		"{public_url: 'http://a.example', tls: {cert_file: c, key_file: k}}": "https://",
		"trusted_proxies: [proxy]":                                           "proxy",
		"public_url: /path":                                                  "https://host",
		"]":                                                                  "yaml",
	} {
		if _, err := load(t, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", file, err, want)
		}
	}
	if _, err := load(t, "retention: {audit: 1440h, events: 720h, requests: 720h}"); err != nil {
		t.Error(err)
	}
	if _, err := loadConfig("/nowhere/config.yaml", pflag.NewFlagSet("", 0)); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// deploy/README.md lists every setting with its default and meaning, and no other.
func TestThePageListsTheSettings(t *testing.T) {
	text, err := os.ReadFile("../../deploy/README.md")
	noError(t, err)
	want := "| setting | default | |\n|---|---|---|\n"
	for _, s := range settings() {
		value := ""
		if s.value != "" {
			value = " `" + s.value + "`"
		}
		want += "| `" + s.key + "` |" + value + " | " + s.usage + " |\n"
	}
	if !strings.Contains(string(text), "\n"+want+"\n") {
		t.Errorf("deploy/README.md lacks this table:\n%s", want)
	}
}

// The sample configuration loads, as it is and with its commented settings.
func TestTheSampleConfigurationLoads(t *testing.T) {
	text, err := os.ReadFile("../../deploy/countersign.yaml")
	noError(t, err)
	c, err := load(t, string(text))
	noError(t, err)
	if c.Sandbox.Mode != "require" || c.Keeper.URL == "" || c.MongoDB.URI != "" {
		t.Errorf("loaded %+v", c)
	}
	c, err = load(t, regexp.MustCompile(`(?m)^# ( *[a-z_]+: ?[^ ]*$)`).ReplaceAllString(string(text), "$1"))
	noError(t, err)
	if c.MongoDB.URI == "" || c.Temporal.Address == "" || c.Policies.Dir == "" || c.TLS.RedirectListen == "" {
		t.Errorf("loaded with its comments %+v", c)
	}
}

// The systemd unit starts the server by a command line that it accepts, with the
// sample configuration.
func TestTheUnitStartsTheServer(t *testing.T) {
	unit, err := os.ReadFile("../../deploy/countersign.service")
	noError(t, err)
	start := regexp.MustCompile(`(?m)^ExecStart=countersign (.*)$`).FindSubmatch(unit)
	cmd, args, err := rootCommand().Find(strings.Fields(string(start[1])))
	noError(t, err)
	noError(t, cmd.ParseFlags(args))
	if file := cmd.Flag("config").Value.String(); cmd.Name() != "serve" || filepath.Base(file) != "countersign.yaml" {
		t.Errorf("it runs %s with %s", cmd.Name(), file)
	}
}

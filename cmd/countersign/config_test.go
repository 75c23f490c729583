package main

import (
	"os"
	"path/filepath"
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

func TestNothingConfiguredIsTheDefaults(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	c, err := load(t, "")
	noError(t, err)
	if c.Listen != "127.0.0.1:8080" || c.Retention.Tokens != 720*time.Hour || c.Limits.UnknownTokens != 60 ||
		c.Data != "/state/countersign" || c.Keeper.File != "/state/countersign/keys/local.key" || len(c.TrustedProxies) != 0 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestFlagsWinOverVariablesOverTheFile(t *testing.T) {
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
		"lisen: 127.0.0.1:1":          "lisen",
		"retention: {tokens: 1h}":     "retention.tokens",
		"retention: {tokens: soon}":   "tokens",
		"retention: {requests: 1h}":   "retention.requests",
		"limits: {unknown_tokens: 0}": "limits.unknown_tokens",
		"sandbox: {mode: strict}":     "sandbox.mode",
		"]":                           "yaml",
	} {
		if _, err := load(t, file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error that names %s", file, err, want)
		}
	}
	if _, err := loadConfig("/nowhere/config.yaml", pflag.NewFlagSet("", 0)); err == nil {
		t.Error("a file that is not there is taken")
	}
}

// The README lists every setting with its default and meaning, and no other.
func TestTheReadmeListsTheSettings(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	noError(t, err)
	for _, s := range settings() {
		value := ""
		if s.value != "" {
			value = "`" + s.value + "`"
		}
		line := "| `" + s.key + "` | " + value + " | " + s.usage + " |"
		if value == "" {
			line = "| `" + s.key + "` | | " + s.usage + " |"
		}
		if !strings.Contains(string(text), line) {
			t.Errorf("README lacks: %s", line)
		}
	}
	_, table, _ := strings.Cut(string(text), "| setting | default | |")
	table, _, _ = strings.Cut(table, "\n\n")
	if got, want := strings.Count(table, "\n| `"), len(settings()); got != want {
		t.Errorf("README lists %d settings, there are %d", got, want)
	}
}

//go:build bench

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign-dev/countersign/engine"
)

var (
	benchOut     = flag.String("out", "", "file for the figures, as JSON")
	benchPlugins = flag.String("catalogue", "../../bin/plugins/catalogue.json", "catalogue of the format plugins")
	benchStored  = flag.Int("stored", 100_000, "requests stored for the second half")
	benchPending = flag.Int("pending", 10_000, "approvals pending at once")
	benchParts   = flag.String("parts", "callers,formats,plugins,sustained,pending,growth", "what to measure")
	benchBurst   = flag.Int("burst", 20_000, "redemptions in the sustained run")
)

// bench is one run: a whole server in this process, driven over loopback HTTP.
// Figures are compared within the run only.
type bench struct {
	*system
	t       *testing.T
	url     string
	boot    bootstrapFile
	project engine.Project
	figures []figure
}

// figure is one line of the report. Limit, where there is one, is what the
// figure must not exceed; Least says that Limit is a minimum instead.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Limit float64 `json:"limit,omitempty"`
	Least bool    `json:"least,omitempty"`
}

// TestBench measures; it fails only if the server does.
func TestBench(t *testing.T) {
	b := startBench(t)
	b.memory("resident memory, idle")
	for _, part := range strings.Split(*benchParts, ",") {
		measure, known := map[string]func(){
			"callers": b.callers, "formats": b.formats, "plugins": b.plugins, "sustained": b.sustained, "pending": b.pending, "growth": b.growth,
		}[part]
		if !known {
			t.Fatalf("there is no part %q", part)
		}
		measure()
	}
	b.report()
}

// startBench starts the server on an empty folder and measures how long that takes.
func startBench(t *testing.T) *bench {
	catalogue, err := filepath.Abs(*benchPlugins)
	must(t, err)
	config := Config{Data: t.TempDir(), Plugins: catalogue}
	config.Temporal.Namespace = "bench"
	config.Retention.Tokens = 30 * 24 * time.Hour
	config.Limits, config.Sandbox.Mode = LimitsConfig{UnknownTokens: 60, LiveTokens: 1_000_000, WaitingRequests: 1_000_000}, "best_effort"
	config.Sessions.Idle, config.Sessions.Life = time.Hour, time.Hour
	must(t, config.complete())
	config.Bootstrap = filepath.Join(config.Data, "bootstrap.json")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	began := time.Now()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := openSystem(t.Context(), config, accepted{}, log)
	must(t, err)
	b := &bench{system: s, t: t, url: "http://" + listener.Addr().String()}
	b.boot, err = s.bootstrapDev(t.Context(), b.url)
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.serve(ctx, listeners{public: listener}) }()
	b.awaitReady()
	b.add("ready from a cold start, wired in this process", time.Since(began).Seconds(), "s", 2, false)
	t.Cleanup(func() {
		stop()
		must(t, <-served)
	})
	b.project, err = s.store.Project(t.Context(), b.boot.ProjectID)
	must(t, err)
	b.allowKeys()
	_, err = s.admin.CreateUser(t.Context(), engine.Caller{}, engine.User{ID: benchPerson, Username: benchPerson}, "")
	must(t, err)
	return b
}

// benchPerson makes the requests that are not made over HTTP.
const benchPerson = "bench"

// allowKeys opens the policy so that every format and long lives can be measured.
func (b *bench) allowKeys() {
	b.policy(func(p *engine.CertificatePolicy) { p.AllowKeyExport, p.TokenTTLSeconds = true, engine.MaxTokenTTL })
}

// policy sets the project's: the default with a change.
func (b *bench) policy(change func(*engine.CertificatePolicy)) {
	admin, err := b.store.UserByName(b.t.Context(), "admin")
	must(b.t, err)
	p := engine.DefaultPolicy(b.project.ID)
	change(&p)
	caller := engine.Caller{Principal: engine.Principal{User: admin}, Role: engine.RoleAdmin, Project: b.project}
	_, err = b.admin.SetPolicy(b.t.Context(), caller, p, "")
	must(b.t, err)
}

func (b *bench) add(name string, value float64, unit string, limit float64, least bool) {
	f := figure{name, value, unit, limit, least}
	b.figures = append(b.figures, f)
	verdict := ""
	if limit != 0 {
		verdict = fmt.Sprintf("(≤ %g)", limit)
		if least {
			verdict = fmt.Sprintf("(≥ %g)", limit)
		}
		if (value > limit) != least {
			verdict += " MISSED"
		}
	}
	fmt.Printf("%-78s %9.3f %-9s %s\n", name, value, unit, verdict)
}

// memory notes the resident set of this process, load generator included.
func (b *bench) memory(name string) { b.add(name, b.resident(), "MiB", 0, false) }

// resident is the resident set in MiB.
func (b *bench) resident() (mib float64) {
	status, err := os.ReadFile("/proc/self/status")
	must(b.t, err)
	for line := range strings.Lines(string(status)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			mib = kib / 1024
		}
	}
	return mib
}

func (b *bench) report() {
	if *benchOut == "" {
		return
	}
	revision, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	must(b.t, err)
	text, err := json.MarshalIndent(map[string]any{
		"revision": strings.TrimSpace(string(revision)), "time": time.Now().UTC(), "figures": b.figures,
	}, "", "  ")
	must(b.t, err)
	must(b.t, os.WriteFile(*benchOut, append(text, '\n'), 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// discard closes a body after reading it, so that its connection is used again.
func discard(body io.ReadCloser) (int64, error) {
	n, err := io.Copy(io.Discard, body)
	if closing := body.Close(); err == nil {
		err = closing
	}
	return n, err
}

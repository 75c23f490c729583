package host

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/countersign-dev/countersign/engine"
)

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	h, _ := open(t, Options{Concurrency: 1, Deadline: 4 * time.Second, Metrics: registry}, append(archive(t), bad(), misbehaving("exits", nil))...)
	ask := func(j engine.RenderJob) { _, _ = h.Render(t.Context(), j) }
	for range 3 {
		render(t, h, job(t, rsaJob, "cert"))
	}
	render(t, h, job(t, rsaJob, "zip")) // it also renders the five files in it, cert included
	ask(job(t, rsaJob, "refuse"))
	ask(job(t, rsaJob, "patient"))
	pid(t, h) // the process was replaced
	free := occupy(t, h)
	unwanted := job(t, rsaJob, "pid")
	unwanted.Recheck = func(context.Context) error { return engine.Errorf(engine.CodeTokenExpired, "meanwhile") }
	done := wait(t, h, unwanted)
	wantSeries(t, registry, "countersign_plugin_renders_in_flight", `{plugin="bad"} 1`, `{plugin="pem"} 0`)
	wantSeries(t, registry, "countersign_plugin_queue_waiting", `{plugin="bad"} 1`, `{plugin="pem"} 0`)
	free()
	<-done
	wantSeries(t, registry, "countersign_plugin_renders_in_flight", `{plugin="bad"} 0`)
	wantSeries(t, registry, "countersign_plugin_queue_waiting", `{plugin="bad"} 0`)

	renders := func(plugin, format, outcome string, n int) string {
		return fmt.Sprintf(`{format=%q,outcome=%q,plugin=%q} %d`, format, outcome, plugin, n)
	}
	wantSeries(t, registry, "countersign_plugin_renders_total",
		renders("pem", "cert", "rendered", 4), renders("pem", "key", "rendered", 1), renders("pem", "chain", "rendered", 1),
		renders("pkcs12", "pkcs12", "rendered", 1), renders("zip", "zip", "rendered", 1), renders("bad", "refuse", "failed", 1),
		renders("bad", "patient", "timeout", 1), renders("bad", "patient", "abandoned", 1), renders("bad", "pid", "unwanted", 1))
	wantSeries(t, registry, "countersign_plugin_render_duration_seconds_count", `{format="cert",plugin="pem"} 4`, `{format="zip",plugin="zip"} 1`)
	wantSeries(t, registry, "countersign_plugin_queue_duration_seconds_count", `{plugin="bad"} 1`)
	wantSeries(t, registry, "countersign_plugin_restarts_total", `{plugin="bad"} 1`)
	wantSeries(t, registry, "countersign_plugin_state",
		`{plugin="bad",state="running"} 1`, `{plugin="bad",state="disabled"} 0`, `{plugin="exits",state="disabled"} 1`, `{plugin="exits",state="running"} 0`)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}

	if second, err := Open(t.Context(), Options{Catalogue: h.options.Catalogue, Metrics: registry}); err == nil {
		t.Errorf("two hosts share their metrics (%v)", second.Close())
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if left, err := testutil.GatherAndCount(registry); err != nil || left != 0 {
		t.Errorf("%d metrics are left (%v)", left, err)
	}
}

// wantSeries checks series of a metric, as Prometheus reads them.
func wantSeries(t *testing.T, registry *prometheus.Registry, metric string, want ...string) {
	t.Helper()
	page := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(page, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, series := range want {
		if !strings.Contains(page.Body.String(), "\n"+metric+series+"\n") {
			t.Errorf("%s%s is missing in\n%s", metric, series, page.Body)
		}
	}
}

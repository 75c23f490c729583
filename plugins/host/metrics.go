package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/plugins/runtime"
)

// metrics are those of one host. The labels contain names of the catalogue and
// words of this package, nothing that a plugin or a caller chose.
type metrics struct {
	renders   *prometheus.CounterVec
	durations *prometheus.HistogramVec
	queued    *prometheus.HistogramVec
	restarts  *prometheus.CounterVec
}

// The outcomes of a render.
const (
	outcomeRendered  = "rendered"
	outcomeFailed    = "failed"
	outcomeTimeout   = "timeout"
	outcomeBusy      = "busy"      // no slot was free in time
	outcomeUnwanted  = "unwanted"  // the file was not wanted any more when a slot was free
	outcomeAbandoned = "abandoned" // the caller did not wait
)

func newMetrics() *metrics {
	return &metrics{
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_plugin_renders_total", Help: "Renders by plugins, including files of archives, by outcome: rendered, failed, timeout, busy, unwanted or abandoned.",
		}, []string{"plugin", "format", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_plugin_render_duration_seconds", Help: "Duration of renders, without the time in the queue.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"plugin", "format"}),
		queued: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_plugin_queue_duration_seconds", Help: "Time in the queue of renders that found no free slot.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"plugin"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_plugin_restarts_total", Help: "Restarts of a plugin after its process ended.",
		}, []string{"plugin"}),
	}
}

// countRender counts a render by its outcome. ctx is that of the render.
func (m *metrics) countRender(ctx context.Context, f *format, err error) {
	outcome := outcomeFailed
	switch {
	case err == nil:
		outcome = outcomeRendered
	case errors.Is(context.Cause(ctx), runtime.ErrDeadline):
		outcome = outcomeTimeout
	case ctx.Err() != nil:
		outcome = outcomeAbandoned
	case errors.Is(err, engine.CodeUnavailable):
		outcome = outcomeBusy
	case !errors.Is(err, engine.CodeRendererFailed):
		outcome = outcomeUnwanted
	}
	m.renders.WithLabelValues(f.plugin.Entry.Name, f.ID, outcome).Inc()
}

// The gauges are read from the plugins when the metrics are collected.
var (
	stateGauge    = prometheus.NewDesc("countersign_plugin_state", "1 for the current state of the plugin, 0 for the other states.", []string{"plugin", "state"}, nil)
	inFlightGauge = prometheus.NewDesc("countersign_plugin_renders_in_flight", "Renders in progress.", []string{"plugin"}, nil)
	waitingGauge  = prometheus.NewDesc("countersign_plugin_queue_waiting", "Renders that wait for a free slot of the plugin.", []string{"plugin"}, nil)
)

// collector collects the metrics of one host.
type collector struct {
	*metrics
	host *Host
}

var _ prometheus.Collector = collector{}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, part := range []prometheus.Collector{c.renders, c.durations, c.queued, c.restarts} {
		part.Describe(to)
	}
	to <- stateGauge
	to <- inFlightGauge
	to <- waitingGauge
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	for _, part := range []prometheus.Collector{c.renders, c.durations, c.queued, c.restarts} {
		part.Collect(to)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, p := range c.host.view.Load().plugins {
		name, now := p.Entry.Name, p.State().State
		for _, state := range []string{runtime.StateStarting, runtime.StateRunning, runtime.StateRestarting, runtime.StateQuarantined, runtime.StateDisabled} {
			value := 0.0
			if state == now {
				value = 1
			}
			gauge(stateGauge, value, name, state)
		}
		gauge(inFlightGauge, float64(p.queue.inFlight.Load()), name)
		gauge(waitingGauge, float64(p.queue.waiting.Load()), name)
	}
}

// register registers the metrics, if a registry is given.
func (h *Host) register(registry prometheus.Registerer) error {
	if registry == nil {
		return nil
	}
	c := collector{h.metrics, h}
	if err := registry.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	h.unregister = func() { registry.Unregister(c) }
	return nil
}

package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// metrics are what Options.Metrics shows of the plugins. Labels hold what the
// catalogue lists and words of this package, nothing that a plugin or a caller
// chose.
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
	outcomeBusy      = "busy"      // there was no slot
	outcomeUnwanted  = "unwanted"  // by the time there was one
	outcomeAbandoned = "abandoned" // by the caller
)

func newMetrics() *metrics {
	return &metrics{
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_plugin_renders_total", Help: "Renders asked of plugins, files of archives included, by outcome: rendered, failed, timeout, busy, unwanted or abandoned.",
		}, []string{"plugin", "format", "outcome"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_plugin_render_duration_seconds", Help: "Time a render took, waiting in the queue left out.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"plugin", "format"}),
		queued: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_plugin_queue_duration_seconds", Help: "Time renders waited that found no slot free.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"plugin"}),
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_plugin_restarts_total", Help: "Times a plugin was started again after it ended.",
		}, []string{"plugin"}),
	}
}

// outcome counts a render by how it ended. ctx is the one it had.
func (m *metrics) outcome(ctx context.Context, f *format, err error) {
	outcome := outcomeFailed
	switch {
	case err == nil:
		outcome = outcomeRendered
	case errors.Is(context.Cause(ctx), errDeadline):
		outcome = outcomeTimeout
	case ctx.Err() != nil:
		outcome = outcomeAbandoned
	case errors.Is(err, engine.CodeUnavailable):
		outcome = outcomeBusy
	case !errors.Is(err, engine.CodeRendererFailed):
		outcome = outcomeUnwanted
	}
	m.renders.WithLabelValues(f.by.entry.Name, f.ID, outcome).Inc()
}

// What is read from the plugins when somebody asks.
var (
	stateGauge    = prometheus.NewDesc("countersign_plugin_state", "1 for the state that the plugin is in, else 0.", []string{"plugin", "state"}, nil)
	inFlightGauge = prometheus.NewDesc("countersign_plugin_renders_in_flight", "Renders that the plugin has now.", []string{"plugin"}, nil)
	waitingGauge  = prometheus.NewDesc("countersign_plugin_queue_waiting", "Renders that wait for the plugin.", []string{"plugin"}, nil)
)

// collector shows the metrics of one host.
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
	for _, plugin := range c.host.view.Load().plugins {
		name, now := plugin.entry.Name, plugin.shown().State
		for _, state := range []string{StateStarting, StateRunning, StateRestarting, StateQuarantined, StateDisabled} {
			value := 0.0
			if state == now {
				value = 1
			}
			gauge(stateGauge, value, name, state)
		}
		gauge(inFlightGauge, float64(plugin.slots.taken.Load()), name)
		gauge(waitingGauge, float64(plugin.slots.waiting.Load()), name)
	}
}

// register shows the metrics, if somebody wants them.
func (h *Host) register(at prometheus.Registerer) error {
	if at == nil {
		return nil
	}
	c := collector{h.settings.metrics, h}
	if err := at.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	h.unregister = func() { at.Unregister(c) }
	return nil
}

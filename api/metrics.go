package api

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// metrics are the API's part of /metrics. No label holds text that a caller chose:
// routes are patterns and outcomes are problem codes.
type metrics struct {
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	mints       *prometheus.CounterVec
	redemptions *prometheus.CounterVec
	votes       *prometheus.CounterVec
	claims      *prometheus.CounterVec
}

func newMetrics(o Options) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total", Help: "Requests answered, by method, route and status.",
		}, []string{"method", "route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_http_request_duration_seconds", Help: "Time to the answer, by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"method", "route"}),
		mints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_mints_total", Help: "Download requests, by outcome: issued, replayed or a problem code.",
		}, []string{"outcome"}),
		votes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_votes_total", Help: "Votes on approvals, by outcome: approve, deny or a problem code.",
		}, []string{"outcome"}),
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_claims_total", Help: "Tokens claimed after approval, by outcome: issued or a problem code.",
		}, []string{"outcome"}),
		redemptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_redemptions_total", Help: "Attempts to redeem a token, by outcome: consumed or a problem code.",
		}, []string{"outcome"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.durations, m.mints, m.redemptions, m.votes, m.claims, waitingEntries{o.Store, o.Clock}, &installationMetrics{store: o.Store, clock: o.Clock, log: o.Log}, checkMetrics{o.Ready}} {
		if err := o.Registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// waitingEntries asks the store, at each reading of the metrics, which audit entries have
// no number yet. While the store does not answer, there is no figure.
type waitingEntries struct {
	log   auditReader
	clock engine.Clock
}

var (
	entriesWaiting = prometheus.NewDesc("countersign_audit_waiting",
		"Audit entries that are stored and have no number in their chain yet.", nil, nil)
	entriesWaitingSeconds = prometheus.NewDesc("countersign_audit_waiting_seconds",
		"For how long the oldest audit entry has waited for its number.", nil, nil)
)

// Describe implements prometheus.Collector.
func (waitingEntries) Describe(to chan<- *prometheus.Desc) {
	to <- entriesWaiting
	to <- entriesWaitingSeconds
}

// Collect implements prometheus.Collector.
func (w waitingEntries) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	entries, since, err := w.log.AuditWaiting(ctx)
	if err != nil {
		return
	}
	waited := 0.0
	if entries > 0 {
		waited = max(0, w.clock().Sub(since).Seconds()) // the clock of another process may be ahead
	}
	to <- prometheus.MustNewConstMetric(entriesWaiting, prometheus.GaugeValue, float64(entries))
	to <- prometheus.MustNewConstMetric(entriesWaitingSeconds, prometheus.GaugeValue, waited)
}

func (m *metrics) served(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(method, route).Observe(took.Seconds())
}

// countOutcome counts a success under the given label, or an error under its code.
func countOutcome(counter *prometheus.CounterVec, success string, err error) {
	if err != nil {
		success = cmp.Or(string(engine.CodeOf(err)), string(codeInternal))
	}
	counter.WithLabelValues(success).Inc()
}

package api

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
)

// metrics are what /metrics shows of the API. No label holds what a caller
// chose but for its kind: routes are patterns, outcomes problem codes.
type metrics struct {
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	mints       *prometheus.CounterVec
	redemptions *prometheus.CounterVec
	votes       *prometheus.CounterVec
	claims      *prometheus.CounterVec
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total", Help: "Requests answered, by method, route and status.",
		}, []string{"method", "route", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_http_request_duration_seconds", Help: "Time to an answer, by method and route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}, []string{"method", "route"}),
		mints: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_mints_total", Help: "Downloads asked for, by outcome: issued, replayed or a problem code.",
		}, []string{"outcome"}),
		votes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_votes_total", Help: "Decisions on approvals, by outcome: approve, deny or a problem code.",
		}, []string{"outcome"}),
		claims: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_claims_total", Help: "Tokens claimed after approval, by outcome: issued or a problem code.",
		}, []string{"outcome"}),
		redemptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_redemptions_total", Help: "Tokens presented for their file, by outcome: consumed or a problem code.",
		}, []string{"outcome"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.durations, m.mints, m.redemptions, m.votes, m.claims} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) served(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(method, route).Observe(took.Seconds())
}

// outcome counts one more of what went well, or of the code it failed with.
func outcome(counter *prometheus.CounterVec, well string, err error) {
	if err != nil {
		well = string(engine.CodeOf(err))
		if well == "" {
			well = string(codeInternal)
		}
	}
	counter.WithLabelValues(well).Inc()
}

package api

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// checkMetrics runs the checks of readiness at each reading of the metrics.
type checkMetrics struct{ checks []Check }

var (
	checkUp = prometheus.NewDesc("countersign_check_up",
		"1 if a part on which the server depends answers, else 0, by check as in /readyz.", []string{"check"}, nil)
	checkSeconds = prometheus.NewDesc("countersign_check_duration_seconds",
		"How long a part on which the server depends took to answer, or to fail.", []string{"check"}, nil)
)

// Describe implements prometheus.Collector.
func (checkMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- checkUp
	to <- checkSeconds
}

// Collect implements prometheus.Collector.
func (m checkMetrics) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, check := range m.checks {
		all.Go(func() {
			timer, up := prometheus.NewTimer(nil), 1.0
			if runCheck(ctx, check) != nil {
				up = 0
			}
			took := timer.ObserveDuration()
			to <- prometheus.MustNewConstMetric(checkUp, prometheus.GaugeValue, up, check.Name)
			to <- prometheus.MustNewConstMetric(checkSeconds, prometheus.GaugeValue, took.Seconds(), check.Name)
		})
	}
	all.Wait()
}

package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// installationReader counts what the whole installation has.
type installationReader interface {
	ApprovalsPending(ctx context.Context, limit int) (pending int, since time.Time, err error)
	CountCertificates(ctx context.Context, from, until time.Time, limit int) (int, error)
}

const (
	// maxCounted limits what one count costs the store, however much is stored.
	maxCounted = 10_000
	// countEvery is how often they are counted at most, however often the metrics are read.
	countEvery = time.Minute
	// keptFor is how long figures are reported while they cannot be counted again.
	keptFor = 5 * time.Minute
)

const ofInstallation = " It is of the whole installation, so every node reports the same: take the maximum of the nodes, not the sum. At most 10000 are counted, once a minute."

var (
	approvalsPending = prometheus.NewDesc("countersign_approvals_pending",
		"Approvals that wait for votes."+ofInstallation, nil, nil)
	approvalsPendingSeconds = prometheus.NewDesc("countersign_approvals_pending_seconds",
		"For how long the oldest pending approval has waited, or 0. It is of the whole installation: take the maximum of the nodes.", nil, nil)
	certificateEnds = prometheus.NewDesc("countersign_certificates",
		"Certificates by how soon they expire: expired, 1d (within a day), 7d (within 7 days and not within 1), 30d, 90d or later."+ofInstallation, []string{"expires"}, nil)
)

// expiries are the values of the label, each with its last day from now on.
var expiries = []struct {
	label string
	days  int
}{{"expired", 0}, {"1d", 1}, {"7d", 7}, {"30d", 30}, {"90d", 90}, {"later", 0}}

// The first and the last second of a certificate's time (RFC 5280, section 4.1.2.5).
var (
	firstEnd = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastEnd  = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// installationMetrics asks the store once a minute at most. While the store does not
// answer, it is asked at each reading, and the last figures stand for five minutes.
type installationMetrics struct {
	store installationReader
	clock func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	failing bool
	counted time.Time
	figures []prometheus.Metric
}

// Describe implements prometheus.Collector.
func (*installationMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- approvalsPending
	to <- approvalsPendingSeconds
	to <- certificateEnds
}

// Collect implements prometheus.Collector.
func (m *installationMetrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := m.clock(); m.counted.IsZero() || now.Sub(m.counted) >= countEvery || now.Before(m.counted) {
		figures, err := m.count(now)
		switch {
		case err == nil:
			m.counted, m.figures = now, figures
		case now.Sub(m.counted) >= keptFor || now.Before(m.counted):
			m.figures = nil
		}
		if err != nil && !m.failing {
			m.log.Warn("what the installation has could not be counted for the metrics; it is tried again whenever they are read", "error", err)
		}
		m.failing = err != nil
	}
	for _, figure := range m.figures {
		to <- figure
	}
}

func (m *installationMetrics) count(now time.Time) (figures []prometheus.Metric, err error) {
	within := 5 * time.Second
	if m.failing {
		within = time.Second // whoever reads the metrics waits for each try
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		figures = append(figures, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...))
	}
	pending, since, err := m.store.ApprovalsPending(ctx, maxCounted)
	if err != nil {
		return nil, err
	}
	waited := 0.0
	if pending > 0 {
		waited = max(0, now.Sub(since).Seconds()) // the clock of another process may be ahead
	}
	gauge(approvalsPending, float64(pending))
	gauge(approvalsPendingSeconds, waited)
	now = now.UTC().Truncate(time.Second)
	from := firstEnd
	for _, e := range expiries {
		until := now.AddDate(0, 0, e.days)
		if e.label == "later" {
			until = lastEnd
		}
		n, err := m.store.CountCertificates(ctx, from, until, maxCounted)
		if err != nil {
			return nil, err
		}
		gauge(certificateEnds, float64(n), e.label)
		from = until
	}
	return figures, nil
}

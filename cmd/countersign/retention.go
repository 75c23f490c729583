package main

import (
	"context"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/countersign-dev/countersign/engine"
	"github.com/countersign-dev/countersign/engine/anchor"
)

// openRetention makes what deletes what has been kept long enough. The settings of the
// node that started last apply, so each node can purge the audit log.
func (s *system) openRetention(ctx context.Context) (*engine.Retention, error) {
	purge := &engine.AuditPurge{Store: s.store, Key: s.auditKey, Sent: s.forwardings.sent, Clock: engine.SystemClock, Log: s.log}
	if url := s.config.Retention.Archive; url != "" {
		// The token is no setting: every setting is also a flag, and arguments are public.
		archive, err := anchor.OpenArchive(ctx, url, os.Getenv("COUNTERSIGN_ARCHIVE_TOKEN"))
		if err != nil {
			return nil, err
		}
		s.onClose(func(context.Context) error { return archive.Close() })
		purge.Archive = archive
	}
	s.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "countersign_audit_purge_failures_total", Help: "How often an audit chain could not be purged, for example because it could not be archived.",
	}, func() float64 { return float64(purge.Failures()) }))
	return &engine.Retention{Store: s.store, Clock: engine.SystemClock, Audit: purge}, nil
}
